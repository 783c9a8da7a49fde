/** `modelport run`: a package served from its folder, as its author sees it on the terminal. */
import { readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Command } from "commander";
import { sampleCall } from "./call-sample.ts";
import { addVerb, assignment, wholeNumber } from "./commands.ts";
import { CliError } from "./failures.ts";
import { duration, errorBlock } from "./format.ts";
import type { Paint } from "./format.ts";
import type { CliIo } from "./io.ts";
import type { RunEvent } from "./package-run.ts";
import type { Session } from "./session.ts";

const PORT = 8080;
const HOST = "127.0.0.1";

interface RunOptions {
  readonly port?: number;
  readonly host?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const requestLine = (event: Extract<RunEvent, { kind: "request" }>, paint: Paint): string => {
  const tint =
    event.status === null || event.status >= 500 ? "red" : event.status >= 400 ? "yellow" : "green";
  return `${event.method} ${event.path} ${paint(tint, String(event.status ?? "gone"))} ${paint("dim", duration(event.ms))}`;
};

const NEXT: Readonly<Record<Extract<RunEvent, { kind: "failed" }>["answers"], string>> = {
  before: "The version before goes on answering; the next change is tried at once.",
  again: "It is started again by itself",
  next: "The changed version answers once it has loaded.",
  change: "Nothing answers until a change can be loaded.",
};

/** The command that calls it: with the request that lies beside `model`, else with one made from `apis`. */
const curl = async (event: Extract<RunEvent, { kind: "ready" }>): Promise<string> => {
  const names = await readdir(event.home).catch(() => []);
  const here = (name: string): string => {
    const path = relative("", join(event.home, name));
    return path.startsWith("..") ? join(event.home, name) : path;
  };
  const request = [...names].find((name) => name.startsWith("request."));
  return sampleCall(event.url, event.api, request === undefined ? null : here(request));
};

const serve = async (session: Session, options: RunOptions, folder: string): Promise<void> => {
  const { io, json, paint } = session;
  const live = session.live();
  const tell = (line: string): void => (json ? io.stderr.write(`${line}\n`) : live.note(line));
  let announced: Promise<void> = Promise.resolve();
  let hasServed = false;
  const announce = async (event: Extract<RunEvent, { kind: "ready" }>): Promise<void> => {
    const how = event.isAgain ? "started again" : "reloaded";
    if (!event.isFirst) return tell(paint("green", `${how} in ${duration(event.ms)}`));
    const call = await curl(event);
    live.now("");
    if (json) return io.stdout.write(`${JSON.stringify({ url: event.url, call }, null, 2)}\n`);
    tell(
      `${paint("bold", `Serving ${folder} at ${event.url}`)}, reloading when a file changes. Stop with Ctrl-C.\n` +
        `Try it:\n  ${call}`,
    );
  };
  const onEvent = (event: RunEvent): void => {
    switch (event.kind) {
      case "step":
        return io.isStderrTty || json ? live.now(event.text) : live.note(paint("dim", event.text));
      case "warning":
        return tell(`${paint("yellow", "warning:")} ${event.text}`);
      case "output":
        if (json || event.stream === "stderr") return tell(event.line);
        // On a terminal the moving line must give way to it, wherever it goes.
        if (io.isTty && io.isStderrTty) return live.note(event.line);
        return io.stdout.write(`${event.line}\n`);
      case "request":
        return tell(requestLine(event, paint));
      case "changed":
        return live.now("a file has changed; loading");
      case "ready":
        hasServed = true;
        live.now("");
        announced = announce(event);
        return;
      case "failed": {
        live.now("");
        const { inMs = 0, problems } = event;
        const when = inMs === 0 ? "." : `, in ${duration(inMs)}: it has ended soon after each start.`;
        const next = NEXT[event.answers] + (event.answers === "again" ? when : "");
        const error = new CliError("failed", event.message, { problems, next });
        return tell(errorBlock(error, paint).trimEnd());
      }
    }
  };
  try {
    const packages = await io.packageRun();
    await packages.serve({
      folder,
      host: options.host ?? HOST,
      port: options.port ?? PORT,
      envs: options.env ?? {},
      onEvent,
      signal: io.interrupt,
    });
    await announced;
    if (!hasServed) throw new CliError("interrupted", "Stopped before the package could be served.");
    tell("Stopped.");
  } finally {
    live.end();
  }
};

const runCommand = async (
  session: Session,
  options: RunOptions,
  folder: string,
  command: readonly string[],
): Promise<void> => {
  const { io, paint } = session;
  const live = session.live();
  try {
    const packages = await io.packageRun();
    const { code, signal } = await packages.command({
      folder,
      command,
      stdout: session.json ? "stderr" : "stdout",
      envs: options.env ?? {},
      onEvent: (event) => {
        if (event.kind === "step") live.now(event.text);
        if (event.kind === "warning") live.note(`${paint("yellow", "warning:")} ${event.text}`);
        // From here on the terminal is the program's.
        if (event.kind === "step" && event.text === "") live.end();
      },
      signal: io.interrupt,
    });
    session.answer({ exit_code: code, ...(signal === null ? {} : { signal }) }, () => "");
    const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
    if (code !== 0)
      throw new CliError("failed", `${command[0] ?? ""} ${how}.`, { isAnswered: true, exitCode: code });
  } finally {
    live.end();
  }
};

export const addRunCommand = (program: Command, io: CliIo): void => {
  addVerb<RunOptions>(program, io, {
    usage: "run <folder> [command...]",
    summary: "serve a package from its folder, reloading it when a file changes",
    about:
      "Serves a package from its folder, without a platform: checks it as an import does, builds its environment or " +
      "finds it among those of this machine, and shows what the package prints and each request. When a file changes, " +
      "the new version is loaded beside the old one and takes its place once it is ready; when it cannot be loaded, the " +
      "reason is shown and the old one goes on.\n\n" +
      "With a command after --, runs that in the package's environment and folder instead: its tests, its training. " +
      "Its exit code is then the exit code of this command, or 128 and the signal's number when a signal ended it. With " +
      "--json what it prints goes to standard error.",
    examples: [
      "run ./iris",
      "run ./iris --port 9000 --env THRESHOLD=0.5",
      "run ./iris -- python -m unittest",
      "run ./iris -- python train.py",
    ],
    options: (command) =>
      command
        .option(
          "-p, --port <port>",
          `port to listen on; 0 takes any that is free (default: ${PORT})`,
          wholeNumber(0, 65_535),
        )
        .option("--host <host>", `address to listen on (default: ${HOST}, this machine only)`)
        .option(
          "-e, --env <key=value>",
          "a variable for the package; may be given several times",
          assignment,
        ),
    run: (session, options, folder, command) => {
      const words = (command ?? []) as unknown as readonly string[];
      return words.length === 0
        ? serve(session, options, folder ?? "")
        : runCommand(session, options, folder ?? "", words);
    },
  });
};
