/** `modelport service predict`: one call of a service, as an application would make it. */
import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import type { Command } from "commander";
import type { Api } from "./api.ts";
import { addVerb, collect } from "./commands.ts";
import { EventStream } from "./event-stream.ts";
import { CliError, apiFailure, usage } from "./failures.ts";
import { duration } from "./format.ts";
import type { CliIo } from "./io.ts";
import { findService } from "./names.ts";
import type { Session } from "./session.ts";
import { readAll } from "./transport.ts";

interface PredictOptions {
  readonly data?: string;
  readonly path?: string;
  readonly header?: readonly string[];
  readonly contentType: string;
  readonly verbose?: boolean;
}

const readBody = async (session: Session, data: string | undefined): Promise<Uint8Array> => {
  if (data === undefined || data === "-" || data === "@-") {
    if (data === undefined && session.io.stdin.isTTY) {
      throw usage(
        "There is no body to send.",
        "Give it with `-d '{…}'` or `-d @file`, or on standard input.",
      );
    }
    return readAll(session.io.stdin);
  }
  if (!data.startsWith("@")) return Buffer.from(data);
  const path = data.slice(1);
  return readFile(path).catch((cause: NodeJS.ErrnoException) => {
    const reason = cause.code === "ENOENT" ? "there is no such file" : (cause.code ?? cause.message);
    throw new CliError("usage", `${path} cannot be read: ${reason}.`, {
      next: "Name a file that holds the body, as `-d @request.json`.",
      cause,
    });
  });
};

const parseHeaders = (lines: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf(":");
      if (at < 1) throw usage(`The header ${line} has no name.`, "Write it as `-H 'Name: value'`.");
      return [line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()];
    }),
  );

/** Where a service is called: its address as the platform gives it, at the endpoint we reach the platform by. */
export const predictPath = (id: string, accessAddress: string | undefined, sub: string): string => {
  const base =
    accessAddress !== undefined && URL.canParse(accessAddress)
      ? new URL(accessAddress).pathname
      : `/v1/infers/${id}`;
  return base.replace(/\/$/, "") + (sub === "" || sub === "/" ? "" : sub.replace(/^\/?/, "/"));
};

/** One JSON document with the answer's own text in it: parsed and written again, 1.0 and long numbers would be others. */
const withBody = (facts: object, text: string): string => {
  let body = text.trim();
  try {
    JSON.parse(text);
  } catch {
    // Not every model answers JSON.
    body = JSON.stringify(text);
  }
  return `${JSON.stringify(facts, null, 2).slice(0, -"\n}".length)},\n  "body": ${body}\n}\n`;
};

/** Sends one prediction and hands back the answer, whatever its status. */
export const sendPrediction = (
  api: Api,
  path: string,
  body: Uint8Array,
  headers: Readonly<Record<string, string>>,
): Promise<IncomingMessage> => api.send("POST", path, { body, headers, withinMs: null });

/** The whole answer or, where pieces are handed on as they come, the last of them. A cut answer throws `failed`. */
const receive = async (
  session: Session,
  answer: IncomingMessage,
  service: string,
  onChunk: ((chunk: Buffer) => void) | null,
): Promise<string> => {
  const chunks: Buffer[] = [];
  const text = (): string => Buffer.concat(chunks).toString("utf8");
  try {
    for await (const chunk of answer) {
      // What was handed on need not be kept: a stream may go on for days.
      if (onChunk !== null) chunks.length = 0;
      chunks.push(chunk as Buffer);
      onChunk?.(chunk as Buffer);
    }
  } catch (cause) {
    if (session.io.interrupt.aborted) throw new CliError("interrupted", "Interrupted.", { cause });
    throw new CliError("failed", "The connection was cut before the answer's end.", {
      ...(onChunk === null && chunks.length > 0 ? { detail: text() } : {}),
      next: `\`modelport service events ${service}\` shows what happened to its instances.`,
      cause,
    });
  }
  return text();
};

const predict = async (session: Session, options: PredictOptions, reference: string): Promise<void> => {
  const { clock, stdout, stderr } = session.io;
  const body = await readBody(session, options.data);
  const api = await session.api();
  const service = await findService(api, reference);
  const path = predictPath(service.service_id, service.access_address, options.path ?? "");
  const startedAt = clock.monotonicMs();
  const answer = await sendPrediction(api, path, body, {
    "content-type": options.contentType,
    ...parseHeaders(options.header ?? []),
  });
  const code = answer.statusCode ?? 0;
  const isGood = code >= 200 && code < 300;
  const isStream = /^text\/event-stream\b/i.test(answer.headers["content-type"] ?? "");
  if (options.verbose && !session.json) {
    const tookMs = clock.monotonicMs() - startedAt;
    const lines = [`POST ${new URL(path, api.endpoint).href}`, `${code} in ${duration(tookMs)}`];
    for (const [name, value] of Object.entries(answer.headers)) lines.push(`${name}: ${String(value)}`);
    stderr.write(lines.map((line) => `${session.paint("dim", line)}\n`).join(""));
  }
  const events = new EventStream();
  const pass = (chunk: Buffer): void => {
    stdout.write(chunk);
    if (isStream) events.push(chunk.toString("latin1"));
  };
  const text = await receive(session, answer, service.service_name, isGood && !session.json ? pass : null);
  if (isGood) {
    if (session.json) {
      const tookMs = Math.round(clock.monotonicMs() - startedAt);
      stdout.write(withBody({ status: code, took_ms: tookMs, headers: answer.headers }, text));
      events.push(text);
    } else if (session.io.isTty && !text.endsWith("\n")) stdout.write("\n");
    if (isStream && events.endsInError())
      throw new CliError("failed", "The answer ended in an error; its last event says which.", {
        next: `\`modelport service logs ${service.service_name}\` shows what the model's code printed.`,
        isAnswered: true,
      });
    return;
  }
  const requestId = answer.headers["x-request-id"];
  const failure = apiFailure(code, text, typeof requestId === "string" ? requestId : undefined);
  throw failure.details.next !== undefined || code < 500
    ? failure
    : new CliError(failure.outcome, failure.message, {
        ...failure.details,
        next: `\`modelport service logs ${service.service_name}\` shows what the model's code printed.`,
      });
};

export const addPredictCommand = (service: Command, io: CliIo): void =>
  addVerb<PredictOptions>(service, io, {
    usage: "predict <service>",
    summary: "send one prediction and print the answer",
    examples: [
      `service predict iris -d '{"data":{"req_data":[{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}]}}'`,
      "service predict iris -d @request.json --verbose",
      "service predict iris < request.json",
    ],
    options: (command) =>
      command
        .option("-d, --data <body>", "the body; @FILE reads a file, - standard input")
        .option("--path <path>", "path below the service's address")
        .option("-H, --header <line>", "a header, `Name: value`; may be repeated", collect(String))
        .option("--content-type <type>", "content type of the body", "application/json")
        .option("-v, --verbose", "show the status, headers and time on standard error"),
    run: predict,
  });
