/** `modelport model …`: AI applications, from a package on this machine or in objects to a published version. */
import type { Command } from "commander";
import { name as nameSchema, version as versionSchema } from "../contract/modelarts/common.ts";
import type { Api } from "./api.ts";
import type { EventItem, ModelDetail, ModelItem } from "./api-shapes.ts";
import { addNoun, addVerb, timeSpan } from "./commands.ts";
import { CliError, usage } from "./failures.ts";
import { facts, size, status, table, when } from "./format.ts";
import { eventLine, follow } from "./follow.ts";
import type { CliIo } from "./io.ts";
import type { Live } from "./live.ts";
import { findModel, nextVersion, versionsOf } from "./names.ts";
import { isObsAddress, listObjects, objectPath, parseObsAddress } from "./obs-address.ts";
import { packageLocation, scanPackage, uploadPackage } from "./package-upload.ts";
import type { Problem } from "../core/errors.ts";
import { modelFolders, runsOf } from "../core/model-folders.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import { TEMPLATES, TEMPLATE_INPUT, chooseTemplate } from "../core/templates.ts";
import type { Session } from "./session.ts";
import { readAll } from "./transport.ts";

const eventsPath = (api: Api, id: string): string => api.inProject(`/models/${id}/events`);

export interface ModelRequest {
  readonly name: string;
  readonly version: string;
  readonly type: string | undefined;
  readonly location: string;
  readonly description?: string | undefined;
  /** In place of a type: the template, and the input and output mode it is used with. */
  readonly template?: { readonly id: string; readonly mode: string | undefined } | undefined;
  /** One run of a training job: `V002`. */
  readonly run?: string | undefined;
  /** Files and dependencies are taken when a service first starts the version. */
  readonly dynamic?: boolean | undefined;
}

/** Asks for the import of what lies at `location`; it goes on in the platform. */
export const createModel = async (api: Api, wanted: ModelRequest): Promise<string> => {
  const { model_id } = await api.json<{ model_id: string }>("POST", api.inProject("/models"), {
    json: {
      model_name: wanted.name,
      model_version: wanted.version,
      ...(wanted.template === undefined
        ? {
            ...(wanted.type === undefined ? {} : { model_type: wanted.type }),
            source_location: wanted.location,
          }
        : {
            model_type: "Template",
            template: {
              template_id: wanted.template.id,
              template_inputs: [{ input: wanted.location, input_id: TEMPLATE_INPUT }],
              ...(wanted.template.mode === undefined ? {} : { infer_format: wanted.template.mode }),
            },
          }),
      ...(wanted.run === undefined ? {} : { source_job_version: wanted.run }),
      ...(wanted.dynamic === true ? { dynamic_loading: true } : {}),
      ...(wanted.description === undefined ? {} : { description: wanted.description }),
    },
  });
  return model_id;
};

/** Follows an import to its end; throws with the platform's reason when it ends in `failed`. */
export const awaitModel = async (
  session: Session,
  api: Api,
  live: Live,
  id: string,
  timeoutMs: number | null,
): Promise<ModelDetail> => {
  const model = await follow<ModelDetail>(session, api, live, {
    events: eventsPath(api, id),
    skip: 0,
    read: () => api.get<ModelDetail>(api.inProject(`/models/${id}`)),
    describe: (_state, last) => last ?? "waiting for the import to begin",
    isDone: (state) => state.model_status !== "publishing",
    timeoutMs,
    later: `See how it goes with \`modelport model events ${id}\`.`,
  });
  if (model.model_status === "published") return model;
  // Whoever watched has read the reasons as they came; the one document of --json has them still to tell.
  const reasons = session.json
    ? await api.get<{ events: readonly EventItem[] }>(eventsPath(api, id), {
        event_type: "abnormal",
        order: "asc",
      })
    : { events: [] };
  throw new CliError("failed", `${model.model_name} ${model.model_version} could not be imported.`, {
    detail: reasons.events.map((event) => event.event_info).join("\n") || undefined,
    next: `Put right what is named above, then run the command again. \`modelport model events ${model.model_name}:${model.model_version}\` shows every step.`,
  });
};

const runsAt = async (api: Api, { bucket }: ObsLocation, runsPrefix: string): Promise<readonly string[]> =>
  runsOf((await listObjects(api, { bucket, key: runsPrefix }, "/")).prefixes);

/** Where config.json of a package in objects may be: where the platform will look for the model, in the same order. */
const remoteConfigs = async (
  api: Api,
  at: ObsLocation,
  wanted: string | undefined,
): Promise<readonly string[]> => {
  const { direct, run, runsPrefix, ofRun } = modelFolders(at.key, wanted ?? null);
  const runs = run === null ? await runsAt(api, at, runsPrefix) : [];
  return [...direct, ...runs.map(ofRun)].map((folder) => `${folder}/config.json`);
};

/** What to do about a source that holds no package; of one that has other runs than the one named, which. */
const insteadOf = async (api: Api, at: ObsLocation, wanted: string | undefined): Promise<string> => {
  const { run, runsPrefix } = modelFolders(at.key, wanted ?? null);
  const runs = run === null ? [] : await runsAt(api, at, runsPrefix).catch(() => []);
  return runs.length === 0 || run === null || runs.includes(run)
    ? "Name the folder that holds model/; `modelport obs ls` shows what there is."
    : `There is no run ${run}; \`--run\` may name ${runs.slice(0, 10).join(", ")}.`;
};

/** `model_type` as config.json in the objects names it; the platform reports what is wrong with the rest. */
const remoteModelType = async (
  api: Api,
  location: string,
  run: string | undefined,
): Promise<string | undefined> => {
  const at = parseObsAddress(location);
  const keys = await remoteConfigs(api, at, run);
  for (const key of keys) {
    try {
      const content = await readAll(await api.demand("GET", objectPath(api, { bucket: at.bucket, key })));
      const type = (JSON.parse(content.toString("utf8")) as { model_type?: unknown } | null)?.model_type;
      return typeof type === "string" ? type : undefined;
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      if (!(error instanceof CliError) || error.outcome !== "notFound") throw error;
    }
  }
  throw new CliError(
    "notFound",
    `There is no package at ${location}: obs://${at.bucket}/${keys[0] ?? ""} does not exist.`,
    { next: await insteadOf(api, at, run) },
  );
};

/** Before the upload: what the platform will refuse need not be sent first. */
const demandTemplate = (id: string, mode: string | undefined): void => {
  const choice = chooseTemplate({
    template_id: id,
    template_inputs: [{ input: "", input_id: TEMPLATE_INPUT }],
    infer_format: mode,
  });
  if (choice.ok) return;
  const named = ({ path, message, fix }: Problem): Problem => ({
    path: OPTION_OF[path] ?? path,
    message,
    fix: fix.replaceAll("infer_format", "--mode"),
  });
  throw new CliError("usage", "The template cannot be used like this.", {
    problems: choice.problems.map(named),
    next: "`modelport model templates` lists templates and modes.",
  });
};
const OPTION_OF: Readonly<Record<string, string>> = {
  "template.template_id": "--template",
  "template.infer_format": "--mode",
};

interface ImportOptions {
  readonly name?: string;
  readonly version?: string;
  readonly description?: string;
  readonly template?: string;
  readonly mode?: string;
  readonly run?: string;
  readonly dynamic?: boolean;
  readonly wait: boolean;
  readonly timeout?: number;
}

const importModel = async (session: Session, options: ImportOptions, source: string): Promise<void> => {
  const isRemote = isObsAddress(source);
  if (options.mode !== undefined && options.template === undefined)
    throw usage("--mode goes with --template.", "Without a template, describe the API in config.json.");
  if (options.run !== undefined && !isRemote)
    throw usage(
      "--run goes with the address of a training job's output.",
      "Name one such as obs://BUCKET/OUTPUT.",
    );
  if (options.template !== undefined) demandTemplate(options.template, options.mode);
  const local = isRemote
    ? null
    : await scanPackage(source, {
        needsConfig: options.template === undefined,
        largeFiles: options.dynamic === true,
      });
  const api = await session.api();
  const folder =
    local?.name ??
    parseObsAddress(source)
      .key.split("/")
      .findLast((part) => part !== "");
  const name = options.name ?? folder;
  if (name === undefined)
    throw usage("The address names no folder to take the name from.", "Give one with `--name`.");
  // Before the upload: what the platform will refuse by its name need not be sent first.
  if (!nameSchema.safeParse(name).success) {
    throw usage(
      `${name} is not a name of an AI application.`,
      "Give one with `--name`: 1 to 64 letters, digits, Chinese characters, hyphens or underscores.",
    );
  }
  if (options.version !== undefined && !versionSchema.safeParse(options.version).success) {
    throw usage(
      `${options.version} is not a version.`,
      "Write three numbers of one or two digits without leading zeros, such as 1.0.0.",
    );
  }
  const versions = (await versionsOf(api, name)).map((row) => row.model_version);
  const version = options.version ?? nextVersion(versions);
  if (versions.includes(version)) {
    // Before the upload: it would replace what the existing version was made from.
    throw new CliError("conflict", `${name} ${version} exists already, and versions do not change.`, {
      next: `Leave out \`--version\` to get ${nextVersion(versions)}, or delete it: modelport model delete ${name}:${version}`,
    });
  }
  const live = session.live();
  try {
    if (local !== null) {
      const sent = await uploadPackage(api, live, local, name, version);
      const all = local.files.length;
      live.note(
        sent.files > 0
          ? `  uploaded ${sent.files} of ${all} files (${size(sent.bytes)})`
          : `  ${all} file${all === 1 ? "" : "s"}, all there already`,
      );
    }
    const id = await createModel(api, {
      name,
      version,
      type:
        options.template !== undefined
          ? undefined
          : local === null
            ? await remoteModelType(api, source, options.run)
            : local.modelType,
      location: local === null ? source : packageLocation(name, version),
      description: options.description,
      template: options.template === undefined ? undefined : { id: options.template, mode: options.mode },
      run: options.run,
      dynamic: options.dynamic,
    });
    if (!options.wait) {
      live.end();
      session.answer(
        { model_id: id, model_name: name, model_version: version, model_status: "publishing" },
        () =>
          `${name} ${version} is being imported. Follow it with: modelport model events ${name}:${version}\n`,
      );
      return;
    }
    const model = await awaitModel(session, api, live, id, options.timeout ?? null);
    live.end();
    session.answer(
      model,
      () =>
        `${name} ${version} is ${status("published", session.paint)}. Deploy it with: modelport service deploy ${name}\n`,
    );
  } finally {
    live.end();
  }
};

const list = async (session: Session, options: { name?: string }): Promise<void> => {
  const api = await session.api();
  const rows = await api.all<ModelItem>(api.inProject("/models"), "models", { model_name: options.name });
  const now = session.io.clock.now();
  session.answer({ total_count: rows.length, models: rows }, () =>
    rows.length === 0
      ? "There are no AI applications yet. Import one: modelport model import DIR\n"
      : table(
          ["NAME", "VERSION", "ENGINE", "STATUS", "SIZE", "CREATED", "ID"],
          rows.map((row) => [
            row.model_name,
            row.model_version,
            row.model_type,
            row.model_status,
            size(row.model_size),
            when(row.create_at, now),
            row.model_id,
          ]),
          session.columns,
          session.paint,
          (text, column) => (column === 3 ? status(text, session.paint) : text),
        ),
  );
};

/** What runs it: a template stands for an engine, which its configuration names once it was checked. */
const engineOf = ({ model_type: type, template, config }: ModelDetail): string => {
  if (template === undefined || config === undefined || config === "") return type;
  const { model_type: engine } = JSON.parse(config) as { model_type?: unknown };
  return typeof engine === "string" ? engine : type;
};

const templateOf = ({ template_id: id, infer_format: mode }: NonNullable<ModelDetail["template"]>): string =>
  mode === undefined || mode === "" ? id : `${id}, mode ${mode}`;

const show = async (session: Session, _options: unknown, reference: string): Promise<void> => {
  const model = await findModel(await session.api(), reference);
  session.answer(model, () =>
    facts(
      [
        ["name", model.model_name],
        ["version", model.model_version],
        ["status", status(model.model_status, session.paint)],
        ["engine", engineOf(model)],
        ...(model.template === undefined ? [] : [["template", templateOf(model.template)] as const]),
        ["runtime", model.runtime || "-"],
        ["size", size(model.model_size)],
        ...(model.dynamic_loading === true
          ? [
              [
                "loading",
                model.model_loaded === true ? "dynamic, loaded" : "dynamic, when a service first starts it",
              ] as const,
            ]
          : []),
        ["source", model.source_location || "-"],
        ["description", model.description || "-"],
        ["created", when(model.create_at, session.io.clock.now())],
        ["id", model.model_id],
      ],
      session.paint,
    ),
  );
};

interface TemplateOptions {
  readonly type?: string;
  readonly engine?: string;
  readonly environment?: string;
  readonly search?: string;
}

interface Templates {
  readonly templates: readonly {
    readonly template_id: string;
    readonly type: string;
    readonly release: string;
    readonly environment: string;
    readonly infer_format: string;
    readonly overridable: boolean;
  }[];
  readonly infer_formats: readonly { readonly infer_format: string }[];
}

/** As the platform filters: by a part of the name, in any case. */
const demandKnown = (what: string, given: string | undefined, known: readonly string[]): void => {
  const part = given?.toLowerCase() ?? "";
  if (!known.some((name) => name.toLowerCase().includes(part)))
    throw usage(
      `No template has the ${what} ${given}.`,
      `The ${what}s of templates are ${[...new Set(known)].join(", ")}.`,
    );
};

const templates = async (session: Session, options: TemplateOptions): Promise<void> => {
  const { type, engine, search } = options;
  demandKnown(
    "type",
    type,
    TEMPLATES.map((one) => one.type),
  );
  demandKnown(
    "engine",
    engine,
    TEMPLATES.map((one) => one.engine),
  );
  const api = await session.api();
  const found = await api.get<Templates>(api.inProject("/models/templates"), {
    type,
    engine,
    // The platform writes `Python 3.6`, config.json `python3.6`.
    environment: options.environment?.replace(/^python\s*/i, ""),
    search,
  });
  session.answer(found, () =>
    found.templates.length === 0
      ? "No template is like that; `modelport model templates` shows all of them.\n"
      : `${table(
          ["TEMPLATE", "TYPE", "ENGINE", "ENVIRONMENT", "MODE"],
          found.templates.map((row) => [
            row.template_id,
            row.type,
            row.release,
            row.environment,
            row.overridable ? `${row.infer_format}, or another by --mode` : row.infer_format,
          ]),
          session.columns,
          session.paint,
        )}\nModes: ${found.infer_formats.map((mode) => mode.infer_format).join(", ")}\nUse one: modelport model import DIR --template TEMPLATE\n`,
  );
};

interface DeleteAnswer {
  readonly delete_failed_list?: readonly { readonly error_code: string; readonly error_msg: string }[];
}

const remove = async (session: Session, _options: unknown, reference: string): Promise<void> => {
  if (!reference.includes(":") && !/^[0-9a-f]{8}-/.test(reference)) {
    const versions = await versionsOf(await session.api(), reference);
    if (versions.length > 1) {
      throw usage(
        `${reference} has ${versions.length} versions: ${versions.map((row) => row.model_version).join(", ")}.`,
        `Name the one to delete: modelport model delete ${reference}:${versions[0]?.model_version ?? ""}`,
      );
    }
  }
  const api = await session.api();
  const model = await findModel(api, reference);
  const answer = await api.json<DeleteAnswer>("DELETE", api.inProject(`/models/${model.model_id}`));
  const refused = answer.delete_failed_list?.[0];
  if (refused !== undefined) {
    throw new CliError("conflict", refused.error_msg, {
      code: refused.error_code,
      next: "Delete the services that use it first; `modelport service list` shows them.",
    });
  }
  session.answer(answer, () => `${model.model_name} ${model.model_version} is deleted.\n`);
};

const events = async (session: Session, _options: unknown, reference: string): Promise<void> => {
  const api = await session.api();
  const model = await findModel(api, reference);
  const path = eventsPath(api, model.model_id);
  const rows = await api.all<EventItem>(path, "events", { sort_by: "occur_time", order: "asc" });
  session.answer({ model_id: model.model_id, total_count: rows.length, events: rows }, () =>
    rows.map((row) => `${eventLine(row, session.paint)}\n`).join(""),
  );
};

export const addModelCommands = (program: Command, io: CliIo): void => {
  const model = addNoun(program, "model", "AI applications: import, look at and delete model packages");
  addVerb<ImportOptions>(model, io, {
    usage: "import <source>",
    summary: "import a model package from a folder or from obs://",
    about:
      "Imports a model package: a folder that holds model/ (config.json, the model file, customize_service.py), on this " +
      "machine or in objects. In objects it may be what a training job left in its train_url as well: V001/model/, " +
      "V002/model/ and so on. Follows the import until the version is published.",
    examples: [
      "model import ./iris",
      "model import ./iris --name iris --version 1.0.0",
      "model import obs://my-bucket/packages/iris --no-wait",
      "model import ./cats --template tensorflow-py36 --mode image_processing",
      "model import obs://my-bucket/training-output --run V002",
    ],
    options: (command) =>
      command
        .option("--name <name>", "name of the AI application (default: the folder's name)")
        .option("--version <version>", "version, such as 1.0.0 (default: the next after the newest)")
        .option("--description <text>", "a short description")
        .option(
          "--template <id>",
          "use a model template (see `model templates`); the package needs no config.json then",
        )
        .option("--mode <id>", "the template's input and output mode, where it may be chosen")
        .option("--run <version>", "the run of a training job, such as V002 (default: its newest)")
        .option(
          "--dynamic",
          "take files and dependencies when a service first starts it; files over 5 GB need this",
        )
        .option("--wait", "wait until it is published", true)
        .option("--no-wait", "return as soon as the platform has accepted it")
        .option("--timeout <time>", "stop waiting after 30s, 10m, 2h", timeSpan),
    run: importModel,
  });
  addVerb<{ name?: string }>(model, io, {
    usage: "list",
    summary: "list the AI applications of the project",
    examples: ["model list", "model list --name iris --json"],
    options: (command) => command.option("--name <part>", "only names that contain this"),
    run: list,
  });
  addVerb<TemplateOptions>(model, io, {
    usage: "templates",
    summary: "list the model templates and their input and output modes",
    examples: ["model templates", "model templates --engine PyTorch", "model templates --search py36 --json"],
    options: (command) =>
      command
        .option("--type <type>", "only templates of this type: general, image classification")
        .option("--engine <engine>", "only templates of this AI engine")
        .option("--environment <python>", "only templates of this environment, such as 3.6 or python3.6")
        .option("--search <text>", "only templates with this in their names"),
    run: templates,
  });
  addVerb(model, io, {
    usage: "show <model>",
    summary: "show one version (NAME, NAME:VERSION or an id)",
    examples: ["model show iris", "model show iris:0.0.1 --json"],
    run: show,
  });
  addVerb(model, io, {
    usage: "delete <model>",
    summary: "delete a version that no service uses",
    examples: ["model delete iris:0.0.1"],
    run: remove,
  });
  addVerb(model, io, {
    usage: "events <model>",
    summary: "show what happened to a version, oldest first",
    examples: ["model events iris:0.0.1"],
    run: events,
  });
};
