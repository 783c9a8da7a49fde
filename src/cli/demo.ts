/**
 * `modelport demo`: from nothing to an answered prediction, through the same calls a user makes. Whatever is there
 * already (a running platform, the imported package, the service) is used, and said so.
 */
import { join } from "node:path";
import type { Command } from "commander";
import { Api } from "./api.ts";
import type { ModelDetail, ServiceDetail } from "./api-shapes.ts";
import { addVerb } from "./commands.ts";
import { CliError, apiFailure } from "./failures.ts";
import { duration, widthOf } from "./format.ts";
import type { CliIo } from "./io.ts";
import { openLive } from "./live.ts";
import type { Live } from "./live.ts";
import { awaitModel, createModel } from "./model.ts";
import { findModel, lookUpService, nextVersion, versionsOf } from "./names.ts";
import { isUploaded, packageLocation, scanPackage, uploadPackage } from "./package-upload.ts";
import type { LocalPackage } from "./package-upload.ts";
import { serveUntilInterrupted } from "./platform.ts";
import type { RunningPlatform } from "./platform-control.ts";
import { administratorPath, findProfile, loadProfile } from "./profile.ts";
import type { Profile } from "./profile.ts";
import { DEFAULT_SPECIFICATION } from "./service-deploy.ts";
import { predictPath, sendPrediction } from "./service-predict.ts";
import { awaitService, eventsSoFar, servicePath } from "./service-wait.ts";
import type { Session } from "./session.ts";
import { readAll } from "./transport.ts";

const NAME = "iris";

/** A flower of the species setosa, as the example's config.json names its measures. */
const REQUEST = JSON.stringify({
  data: { req_data: [{ sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 }] },
});

/** How long a service that is coming up again may answer "not yet". */
const ANSWER_WITHIN_MS = 120_000;

interface Step {
  readonly api: Api;
  readonly live: Live;
}

/** Runs one step, showing what goes on, and keeps a line with its result and duration. */
const step = async <T>(
  session: Session,
  doing: string,
  work: (live: Live) => Promise<readonly [string, T]>,
): Promise<T> => {
  const { io } = session;
  const live = session.json
    ? session.live()
    : openLive({
        sink: io.stdout,
        clock: io.clock,
        paint: session.paint,
        columns: io.columns,
        isTty: io.isTty,
      });
  const startedAt = io.clock.monotonicMs();
  live.now(doing);
  try {
    const [done, result] = await work(live);
    const spent = duration(io.clock.monotonicMs() - startedAt);
    const gap = " ".repeat(Math.max(2, 72 - widthOf(done)));
    live.note(`${session.paint("green", "✓")} ${done}${gap}${session.paint("dim", spent)}`);
    return result;
  } finally {
    live.end();
  }
};

/** The administrator made at first start, also when someone else has logged in on this machine since. */
const localProfile = async (io: CliIo): Promise<Profile> => {
  const current = await loadProfile(io.profilePath);
  if (current.password !== undefined) return current;
  return (await findProfile(administratorPath(io.profilePath))) ?? current;
};

const startPlatform = async (session: Session): Promise<RunningPlatform> => {
  const { platform } = session.io;
  if (!(await platform.state()).running) {
    for (const probe of platform.probes()) {
      const finding = await probe.run();
      if (finding.state === "failed") {
        throw new CliError("failed", `The demo cannot start: ${probe.name}: ${finding.found}.`, {
          next: finding.fix,
        });
      }
    }
  }
  return step(session, "starting the platform", async (live) => {
    const running = await platform.up({ detach: false, onStep: (text) => live.now(text) });
    const verb = running.alreadyRunning ? "reused, it was running" : "started";
    return [`Platform ${verb} at ${running.url}`, running] as const;
  });
};

/** A version made from exactly this package, published or on its way there; null when there is none. */
const sameVersion = async (api: Api, local: LocalPackage): Promise<ModelDetail | null> => {
  const versions = await versionsOf(api, NAME);
  for (const row of versions.toReversed()) {
    if (row.model_status === "failed") continue;
    const model = await findModel(api, row.model_id);
    if (model.source_location !== packageLocation(NAME, row.model_version)) continue;
    if (await isUploaded(api, local, NAME, row.model_version)) return model;
  }
  return null;
};

const importExample = (session: Session, api: Api): Promise<ModelDetail> =>
  step(session, "importing examples/iris", async (live) => {
    const local = await scanPackage(join(session.io.examplesDir, NAME));
    const found = await sameVersion(api, local);
    if (found?.model_status === "published") {
      return [
        `AI application ${NAME} ${found.model_version} reused, the package is unchanged`,
        found,
      ] as const;
    }
    let id = found?.model_id;
    if (id === undefined) {
      const version = nextVersion((await versionsOf(api, NAME)).map((row) => row.model_version));
      await uploadPackage(api, live, local, NAME, version);
      id = await createModel(api, {
        name: NAME,
        version,
        type: local.modelType,
        location: packageLocation(NAME, version),
      });
    }
    const model = await awaitModel(session, api, live, id, null);
    return [`AI application ${NAME} ${model.model_version} imported from examples/iris`, model] as const;
  });

/** Brings the service to the version, whatever state it is in. Returns what was done, in words. */
const bring = async (
  session: Session,
  { api, live }: Step,
  name: string,
  existing: ServiceDetail | null,
  model: ModelDetail,
): Promise<readonly [string, ServiceDetail]> => {
  const config = [
    {
      model_id: model.model_id,
      specification: DEFAULT_SPECIFICATION,
      weight: 100,
      instance_count: 1,
      envs: {},
    },
  ];
  const wait = (id: string, skip: number, updateTime?: number): Promise<ServiceDetail> =>
    awaitService(session, api, id, { skip, until: "running", options: {}, live, updateTime });
  if (existing === null) {
    const { service_id } = await api.json<{ service_id: string }>("POST", api.inProject("/services"), {
      json: { service_name: name, infer_type: "real-time", config },
    });
    return [`Service ${name} deployed`, await wait(service_id, 0)];
  }
  const id = existing.service_id;
  const skip = await eventsSoFar(api, id);
  const runs = existing.config.some((one) => one.model_id === model.model_id && one.weight > 0);
  if (!runs && existing.status !== "deploying") {
    const { update_time } = await api.json<{ update_time?: number }>("PUT", servicePath(api, id), {
      json: { config },
    });
    const isStopped = existing.status === "stopped";
    if (isStopped) await api.json("PUT", servicePath(api, id), { json: { status: "running" } });
    return [
      `Service ${name} updated to version ${model.model_version}`,
      await wait(id, skip, isStopped ? undefined : update_time),
    ];
  }
  if (existing.status === "stopped" || existing.status === "failed") {
    await api.json("PUT", servicePath(api, id), { json: { status: "running" } });
    return [`Service ${name} started again`, await wait(id, skip)];
  }
  return [`Service ${name} reused, it was deployed before`, await wait(id, skip)];
};

const deployExample = (session: Session, api: Api, model: ModelDetail): Promise<ServiceDetail> =>
  step(session, "deploying the service", async (live) => {
    const existing = await lookUpService(api, NAME);
    const isForeign = existing !== null && existing.config.every((one) => one.model_name !== NAME);
    // Someone's own service of that name is not the demo's to change.
    return isForeign
      ? bring(session, { api, live }, `${NAME}-demo`, await lookUpService(api, `${NAME}-demo`), model)
      : bring(session, { api, live }, NAME, existing, model);
  });

const predict = (session: Session, api: Api, service: ServiceDetail): Promise<string> =>
  step(session, "sending a prediction", async (live) => {
    const { clock, interrupt } = session.io;
    const startedAt = clock.monotonicMs();
    const path = predictPath(service.service_id, service.access_address, "");
    for (;;) {
      const answer = await sendPrediction(api, path, Buffer.from(REQUEST), {
        "content-type": "application/json",
      });
      const text = (await readAll(answer)).toString("utf8");
      const status = answer.statusCode ?? 0;
      if (status === 200) return ["Prediction answered", text] as const;
      const isEarly = status === 503 || status === 404;
      if (!isEarly || clock.monotonicMs() - startedAt > ANSWER_WITHIN_MS) {
        throw apiFailure(status, text, answer.headers["x-request-id"]?.toString());
      }
      // A service that was deployed before comes up again with the platform; its instance needs a moment.
      live.now("waiting for the instance to come up");
      await clock.sleep(250, interrupt);
    }
  });

const demo = async (session: Session): Promise<void> => {
  const { io } = session;
  const platform = await startPlatform(session);
  try {
    const api = new Api(io, { ...(await localProfile(io)), endpoint: platform.url });
    const model = await importExample(session, api);
    const service = await deployExample(session, api, model);
    const answer = (await predict(session, api, service)).trim();
    const url = new URL(predictPath(service.service_id, service.access_address, ""), platform.url).href;
    const curl = `curl -H 'Content-Type: application/json' -H 'X-Auth-Token: ${await api.token()}' -d '${REQUEST}' ${url}`;
    session.answer(
      { url, model, service, request: JSON.parse(REQUEST), answer: JSON.parse(answer), curl },
      () =>
        [
          "",
          `Request:      ${REQUEST}`,
          `Answer:       ${answer}`,
          `Service URL:  ${url}`,
          "",
          "Call it yourself:",
          "",
          `  ${curl}`,
          "",
          platform.alreadyRunning
            ? "The platform goes on serving. Stop it with: npx modelport down"
            : "Serving until you press Ctrl-C.",
          "",
        ].join("\n"),
    );
    if (platform.alreadyRunning) return;
    await serveUntilInterrupted(io, platform);
    if (!session.json) io.stdout.write("Stopped. What was imported is kept for the next start.\n");
  } catch (error) {
    // Nothing that we started outlives us, however the demo ends.
    if (!platform.alreadyRunning) await platform.stop();
    throw error;
  }
};

export const addDemoCommand = (program: Command, io: CliIo): void =>
  addVerb(program, io, {
    usage: "demo",
    summary: "start, import a package, deploy it, call it: everything once",
    about:
      "Starts the platform (or uses the running one), imports examples/iris, deploys it, sends one prediction and goes " +
      "on serving until Ctrl-C. A second run uses what the first one left.",
    examples: ["demo"],
    run: demo,
  });
