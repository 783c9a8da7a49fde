/** `modelport service deploy` and `update`: which versions run, how many of each, with what weight and variables. */
import type { Command } from "commander";
import type { Api } from "./api.ts";
import type { ModelDetail, ServiceConfigItem } from "./api-shapes.ts";
import { addVerb, assignment, collect, timeSpan, wholeNumber } from "./commands.ts";
import { CliError, usage } from "./failures.ts";
import { status } from "./format.ts";
import type { CliIo } from "./io.ts";
import { findModel, findService } from "./names.ts";
import { applyUpdate, awaitService, submitted } from "./service-wait.ts";
import type { WaitOptions } from "./service-wait.ts";
import { inOptions } from "./option-words.ts";
import type { OptionWords } from "./option-words.ts";
import type { Session } from "./session.ts";

export const DEFAULT_SPECIFICATION = "modelarts.vm.cpu.2u";

interface ShapeOptions {
  readonly weight?: readonly number[];
  readonly instances?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly specification?: string;
  readonly deployTimeout?: number;
  readonly description?: string;
}

interface DeployOptions extends ShapeOptions, WaitOptions {
  readonly name?: string;
}

interface UpdateOptions extends ShapeOptions, WaitOptions {
  readonly model?: readonly string[];
  readonly unsetEnv?: readonly string[];
}

/** The options that were given, by the fields they set: what a service has from before was not said by this command. */
const wordsFor = (options: ShapeOptions & { readonly name?: string }): OptionWords => {
  const given = (value: unknown, field: RegExp, option: string) =>
    value === undefined ? [] : [[field, option] as const];
  return [
    ...Object.keys(options.env ?? {}).map(
      (name) => [new RegExp(`^config\\[\\d+\\]\\.envs\\.${RegExp.escape(name)}$`), `--env ${name}`] as const,
    ),
    ...given(options.instances, /^config\[\d+\]\.instance_count$/, "--instances"),
    ...given(options.specification, /^config\[\d+\]\.specification$/, "--specification"),
    ...given(options.deployTimeout, /^config\[\d+\]\.deploy_timeout_in_seconds$/, "--deploy-timeout"),
    ...given(options.name, /^service_name$/, "--name"),
    ...given(options.description, /^description$/, "--description"),
  ];
};

/** One weight per version, together 100; a single version needs none. */
const weights = (versions: readonly string[], given: readonly number[] | undefined): readonly number[] => {
  if (given === undefined && versions.length === 1) return [100];
  if (given?.length !== versions.length) {
    throw usage(
      `${versions.length} versions need ${versions.length} weights, and there ${given?.length === 1 ? "is 1" : `are ${given?.length ?? 0}`}.`,
      "Give one `--weight` per version, in the same order; together they make 100.",
    );
  }
  const sum = given.reduce((total, weight) => total + weight, 0);
  if (sum !== 100) throw usage(`The weights make ${sum}, not 100.`, "Share 100 out among the versions.");
  return given;
};

const publishedModel = async (api: Api, reference: string): Promise<ModelDetail> => {
  const model = await findModel(api, reference, (row) => row.model_status === "published");
  if (model.model_status === "published") return model;
  const what = `${model.model_name} ${model.model_version}`;
  throw new CliError("conflict", `${what} is ${model.model_status}, so it cannot be deployed.`, {
    next:
      model.model_status === "publishing"
        ? `Wait until it is published: modelport model events ${model.model_name}:${model.model_version}`
        : `See why with \`modelport model events ${model.model_name}:${model.model_version}\`, then import a new version.`,
  });
};

const deploy = async (session: Session, options: DeployOptions, references: unknown): Promise<void> => {
  const wanted = references as readonly string[];
  const api = await session.api();
  const shares = weights(wanted, options.weight);
  const models: ModelDetail[] = [];
  for (const reference of wanted) models.push(await publishedModel(api, reference));
  const name = options.name ?? models[0]?.model_name ?? "";
  const made = api.json<{ service_id: string }>("POST", api.inProject("/services"), {
    json: {
      service_name: name,
      infer_type: "real-time",
      ...(options.description === undefined ? {} : { description: options.description }),
      config: models.map((model, index) => ({
        model_id: model.model_id,
        specification: options.specification ?? DEFAULT_SPECIFICATION,
        weight: shares[index],
        instance_count: options.instances ?? 1,
        envs: options.env ?? {},
        ...(options.deployTimeout === undefined ? {} : { deploy_timeout_in_seconds: options.deployTimeout }),
      })),
    },
  });
  const { service_id } = await made.catch((error: unknown) => {
    throw inOptions(error, wordsFor(options), "The service cannot be deployed like this.");
  });
  if (!options.wait) {
    session.answer(
      { service_id, service_name: name, status: "deploying" },
      () => `${name} is being deployed. Follow it with: modelport service events ${name} -f\n`,
    );
    return;
  }
  const service = await awaitService(session, api, service_id, { skip: 0, until: "running", options });
  session.answer(
    service,
    () =>
      `${name} is ${status(service.status, session.paint)} at ${service.access_address ?? "-"}\n` +
      `Call it with: modelport service predict ${name} -d '{…}'\n`,
  );
};

const reshaped = (
  one: Readonly<Record<string, unknown>>,
  options: UpdateOptions,
): Record<string, unknown> => {
  const envs = { ...(one["envs"] as Record<string, string>), ...options.env };
  for (const name of options.unsetEnv ?? []) delete envs[name];
  return {
    ...one,
    ...(options.instances === undefined ? {} : { instance_count: options.instances }),
    ...(options.specification === undefined ? {} : { specification: options.specification }),
    ...(options.deployTimeout === undefined ? {} : { deploy_timeout_in_seconds: options.deployTimeout }),
    envs,
  };
};

/** What the versions become: those of `--model` take over the first one's settings, else all keep their own. */
const newConfig = async (
  api: Api,
  current: readonly ServiceConfigItem[],
  options: UpdateOptions,
): Promise<readonly Record<string, unknown>[]> => {
  if (options.model === undefined) {
    const shares =
      options.weight === undefined
        ? current.map((one) => one.weight)
        : weights(
            current.map((one) => one.model_id),
            options.weight,
          );
    return current.map((one, index) => ({ ...reshaped(submitted(one), options), weight: shares[index] }));
  }
  const shares = weights(options.model, options.weight);
  const entries: Record<string, unknown>[] = [];
  for (const [index, reference] of options.model.entries()) {
    const model = await publishedModel(api, reference);
    const base = current.find((one) => one.model_id === model.model_id) ?? current[0];
    if (base === undefined) throw new CliError("failed", "The service has no configuration to start from.");
    entries.push({
      ...reshaped(submitted(base), options),
      model_id: model.model_id,
      weight: shares[index],
    });
  }
  return entries;
};

const update = async (session: Session, options: UpdateOptions, reference: string): Promise<void> => {
  const { model, weight, instances, env, unsetEnv, specification, deployTimeout, description } = options;
  const isConfig = [model, weight, instances, env, unsetEnv, specification, deployTimeout].some(
    (value) => value !== undefined,
  );
  if (!isConfig && description === undefined) {
    throw usage(
      "Nothing to change was given.",
      "`modelport service update --help` shows what can be changed.",
    );
  }
  const api = await session.api();
  const service = await findService(api, reference);
  await applyUpdate(
    session,
    api,
    service,
    {
      ...(description === undefined ? {} : { description }),
      ...(isConfig ? { config: await newConfig(api, service.config, options) } : {}),
    },
    options,
  ).catch((error: unknown) => {
    throw inOptions(error, wordsFor(options), "The service cannot be changed like this.");
  });
};

const shape = (command: Command): Command =>
  command
    .option("--weight <0-100>", "share of the traffic, one per version", collect(wholeNumber(0, 100)))
    .option("--instances <count>", "instances per version", wholeNumber(1, 128))
    .option("--env <KEY=VALUE>", "variable of the model's code; may be repeated", assignment)
    .option("--specification <name>", "size of an instance")
    .option("--deploy-timeout <minutes>", "give up a start after 3 to 120 minutes", wholeNumber(3, 120))
    .option("--description <text>", "a short description")
    .option("--wait", "wait until it is running", true)
    .option("--no-wait", "return as soon as the platform has accepted it")
    .option("--timeout <time>", "stop waiting after 30s, 10m, 2h", timeSpan);

export const addDeployCommands = (service: Command, io: CliIo): void => {
  addVerb<DeployOptions>(service, io, {
    usage: "deploy <model...>",
    summary: "deploy one or several versions (NAME, NAME:VERSION or an id) as a service",
    about:
      "Deploys a published version as a service and follows it until it is running. NAME without a version takes the " +
      "newest published one. Several versions share the traffic by weight.",
    examples: [
      "service deploy iris",
      "service deploy iris:0.0.2 --name flowers --instances 2 --env THRESHOLD=0.5",
      "service deploy iris:0.0.1 iris:0.0.2 --weight 90 --weight 10",
    ],
    options: (command) =>
      shape(command.option("--name <name>", "name of the service (default: the model's)")),
    run: deploy,
  });
  addVerb<UpdateOptions>(service, io, {
    usage: "update <service>",
    summary: "change versions, weights, instances or variables without losing a prediction",
    about:
      "Rolls the service over to a changed configuration. New instances must be ready before old ones go; a change that " +
      "cannot become ready is rolled back. What is not named stays as it is.",
    examples: [
      "service update iris --model iris:0.0.2",
      "service update iris --model iris:0.0.1 --model iris:0.0.2 --weight 80 --weight 20",
      "service update iris --instances 3 --env THRESHOLD=0.7 --unset-env DEBUG",
    ],
    options: (command) =>
      shape(
        command
          .option("--model <model>", "version to run; may be repeated", collect(String))
          .option("--unset-env <KEY>", "variable to remove; may be repeated", collect(String)),
      ),
    run: update,
  });
};
