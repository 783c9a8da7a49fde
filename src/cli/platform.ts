/** `modelport up`, `down`, `upgrade`, `status` and `doctor`: the platform on this machine. */
import type { Command } from "commander";
import { addVerb } from "./commands.ts";
import { CliError } from "./failures.ts";
import { facts, status as statusWord, table, when } from "./format.ts";
import type { CliIo } from "./io.ts";
import { findProfile } from "./profile.ts";
import type { Session } from "./session.ts";
import { exchange, readAll } from "./transport.ts";

/** Resolves when Ctrl-C or SIGTERM came. */
const interrupted = (signal: AbortSignal): Promise<"interrupted"> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve("interrupted");
    signal.addEventListener("abort", () => resolve("interrupted"), { once: true });
  });

/** Serves until Ctrl-C, then stops cleanly; throws when the platform ends by itself. */
export const serveUntilInterrupted = async (
  io: CliIo,
  platform: { readonly ended: Promise<{ readonly reason: string | null }>; stop(): Promise<void> },
): Promise<void> => {
  const first = await Promise.race([platform.ended, interrupted(io.interrupt)]);
  if (first === "interrupted") return platform.stop();
  if (first.reason !== null) {
    throw new CliError("failed", `The platform has ended: ${first.reason}`, {
      next: `Its logs are in ${io.dataDir}/logs/platform.`,
    });
  }
};

const up = async (session: Session, options: { detach?: boolean }): Promise<void> => {
  const { io } = session;
  const live = session.live();
  try {
    const platform = await io.platform.up({
      detach: options.detach === true,
      onStep: (text) => live.now(text),
    });
    live.end();
    session.answer({ url: platform.url, already_running: platform.alreadyRunning }, () =>
      platform.alreadyRunning
        ? `Modelport is already running at ${platform.url}\n`
        : `Modelport is running at ${platform.url}\n` +
          (options.detach ? "Stop it with: modelport down\n" : "Stop it with Ctrl-C.\n"),
    );
    if (!platform.alreadyRunning && !options.detach) await serveUntilInterrupted(io, platform);
  } finally {
    live.end();
  }
};

const down = async (session: Session): Promise<void> => {
  const live = session.live();
  try {
    const { wasRunning } = await session.io.platform.down({ onStep: (text) => live.now(text) });
    live.end();
    session.answer({ was_running: wasRunning }, () =>
      wasRunning ? "Modelport is stopped.\n" : "Modelport was not running.\n",
    );
  } finally {
    live.end();
  }
};

const upgrade = async (session: Session): Promise<void> => {
  const live = session.live();
  try {
    const done = await session.io.platform.upgrade({ onStep: (text) => live.now(text) });
    live.end();
    if (!done.wasRunning) {
      throw new CliError("unreachable", "Modelport is not running on this machine.", {
        next: "Start it with `modelport up --detach`; it then runs the program as it is now.",
      });
    }
    const { url, before, after } = done;
    session.answer(
      { url, supervisor: { before, after } },
      () =>
        `Modelport at ${url} runs the program as it is on disk now (process ${after}, before ${before}).\n`,
    );
  } finally {
    live.end();
  }
};

/** `GET /healthz` of a gateway; null when nothing answers. */
const health = async (io: CliIo, url: string): Promise<{ ok: boolean; body: unknown } | null> => {
  try {
    const answer = await exchange({
      method: "GET",
      url: new URL("/healthz", url),
      headers: {},
      signal: AbortSignal.any([io.interrupt, AbortSignal.timeout(5000)]),
    });
    const text = (await readAll(answer)).toString("utf8");
    let body: unknown = text;
    try {
      body = JSON.parse(text);
    } catch {
      // A short word is an answer too.
    }
    return { ok: answer.statusCode === 200, body };
  } catch (error) {
    if (error instanceof CliError && error.outcome !== "interrupted") return null;
    throw error;
  }
};

const status = async (session: Session): Promise<void> => {
  const { io } = session;
  const state = await io.platform.state();
  const profile = await findProfile(io.profilePath).catch(() => null);
  const url = state.running ? state.url : (profile?.endpoint ?? null);
  const answered = url === null ? null : await health(io, url);
  const document = {
    local: state,
    endpoint: url,
    healthy: answered?.ok ?? false,
    health: answered?.body ?? null,
  };
  if (!state.running && answered === null) {
    if (session.json) session.answer(document, () => "");
    throw new CliError("unreachable", "Modelport is not running.", {
      next: "Start it with `modelport up --detach`.",
      isAnswered: true,
    });
  }
  session.answer(document, () => {
    const lines: (readonly [string, string])[] = [
      ["url", url ?? "-"],
      ["health", statusWord(answered === null ? "failed" : answered.ok ? "ok" : "concerning", session.paint)],
    ];
    if (!state.running)
      return facts(
        [...lines, ["where", "on another machine, or with another data directory"]],
        session.paint,
      );
    if (state.since !== null) lines.push(["running since", when(state.since, io.clock.now())]);
    lines.push(["data", io.dataDir]);
    return (
      `${facts(lines, session.paint)}\n` +
      table(
        ["PROCESS", "PID", "STATE", "RESTARTS"],
        state.processes.map((one) => [one.role, String(one.pid), one.state, String(one.restarts)]),
        session.columns,
        session.paint,
        (text, column) => (column === 2 ? statusWord(text, session.paint) : text),
      )
    );
  });
  if (answered?.ok !== true)
    throw new CliError("unreachable", "Modelport is running but not healthy.", {
      next: `Its logs are in ${io.dataDir}/logs/platform; \`modelport doctor\` looks for causes.`,
      isAnswered: true,
    });
};

const doctor = async (session: Session): Promise<void> => {
  const { io, paint } = session;
  const findings: { name: string; state: string; found: string; fix?: string }[] = [];
  const live = session.live();
  try {
    for (const probe of io.platform.probes()) {
      live.now(`looking at ${probe.name}`);
      findings.push({ name: probe.name, ...(await probe.run()) });
    }
    const profile = await findProfile(io.profilePath).catch((error: unknown) => error);
    if (profile instanceof CliError) {
      findings.push({
        name: "login",
        state: "failed",
        found: profile.message,
        fix: profile.details.next ?? "",
      });
    } else if (profile === null) {
      findings.push({
        name: "login",
        state: "warning",
        found: "not logged in",
        fix: "`modelport up` makes the first user and logs you in.",
      });
    } else {
      const api = await session.api();
      const answered = await health(io, api.endpoint);
      if (answered === null) {
        findings.push({
          name: "platform",
          state: "warning",
          found: `nothing answers at ${api.endpoint}`,
          fix: "Start it with `modelport up`.",
        });
      } else {
        findings.push({
          name: "platform",
          ...(answered.ok
            ? { state: "ok", found: `healthy at ${api.endpoint}` }
            : {
                state: "failed",
                found: `${api.endpoint} answers but is not healthy`,
                fix: `Look at ${io.dataDir}/logs/platform.`,
              }),
        });
        const login = await api.json("GET", "/v3/projects").then(
          () => ({ state: "ok", found: `${api.profile.user} in project ${api.profile.project.name}` }),
          (error: unknown) => ({
            state: "failed",
            found: (error as Error).message,
            fix: "Log in again with `modelport login`.",
          }),
        );
        findings.push({ name: "login", ...login });
      }
    }
  } finally {
    live.end();
  }
  const failed = findings.filter((one) => one.state === "failed");
  session.answer({ ok: failed.length === 0, findings }, () => {
    const width = Math.max(...findings.map((one) => one.name.length));
    return findings
      .map((one) => {
        const mark =
          one.state === "ok"
            ? paint("green", "✓")
            : one.state === "warning"
              ? paint("yellow", "!")
              : paint("red", "✗");
        const fix =
          one.fix === undefined || one.fix === ""
            ? ""
            : `\n  ${" ".repeat(width)}  ${paint("cyan", "next:")} ${one.fix}`;
        return `${mark} ${one.name.padEnd(width)}  ${one.found}${fix}\n`;
      })
      .join("");
  });
  if (failed.length > 0) {
    throw new CliError("failed", `${failed.length} of ${findings.length} checks failed.`, {
      isAnswered: true,
    });
  }
};

export const addPlatformCommands = (program: Command, io: CliIo): void => {
  addVerb<{ detach?: boolean }>(program, io, {
    usage: "up",
    summary: "start the platform on this machine",
    about:
      "Starts the platform with everything embedded and serves until Ctrl-C, or in the background with --detach.",
    examples: ["up", "up --detach"],
    options: (command) => command.option("-d, --detach", "go on in the background"),
    run: up,
  });
  addVerb(program, io, {
    usage: "down",
    summary: "stop the platform on this machine",
    examples: ["down"],
    run: down,
  });
  addVerb(program, io, {
    usage: "upgrade",
    summary: "go over to the program as it is on disk now, without a break",
    about:
      "Starts the platform's own processes anew from the program as it is on disk now, with the settings of the running " +
      "one. Instances go on; no connection is refused and no prediction fails: the new gateway takes requests before " +
      "the old one stops, and calls of the API fail for the moment in which control changes over. When the new " +
      "processes cannot start, the old ones go on, and the reason is told.",
    examples: ["upgrade", "upgrade --json"],
    run: upgrade,
  });
  addVerb(program, io, {
    usage: "status",
    summary: "show whether the platform is well",
    examples: ["status", "status --json"],
    run: status,
  });
  addVerb(program, io, {
    usage: "doctor",
    summary: "look for what keeps the platform from working",
    examples: ["doctor"],
    run: doctor,
  });
};
