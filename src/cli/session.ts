/**
 * What a command works with: the process's io, the API behind the profile, and the one way to answer. `answer` writes
 * either text for people or one JSON document, never both.
 */
import { Api } from "./api.ts";
import { paint } from "./format.ts";
import type { Paint } from "./format.ts";
import type { CliIo } from "./io.ts";
import { openLive, silent } from "./live.ts";
import type { Live } from "./live.ts";
import { loadProfile } from "./profile.ts";

export interface Session {
  readonly io: CliIo;
  readonly json: boolean;
  readonly paint: Paint;
  /** Infinity without a terminal. */
  readonly columns: number;
  /** The API of the profile's platform; reads the profile on first use. */
  api(): Promise<Api>;
  /** Progress of long work, on stderr so that stdout holds the answer only; silent with --json. */
  live(): Live;
  answer(document: unknown, text: () => string): void;
}

export const openSession = (io: CliIo, json: boolean): Session => {
  let api: Promise<Api> | null = null;
  return {
    io,
    json,
    paint: paint(io.colour && !json),
    columns: io.isTty ? io.columns : Number.POSITIVE_INFINITY,
    api: () => (api ??= loadProfile(io.profilePath).then((profile) => new Api(io, profile))),
    live: () =>
      json
        ? silent
        : openLive({
            sink: io.stderr,
            clock: io.clock,
            paint: paint(io.colour && io.isStderrTty),
            columns: io.columns,
            isTty: io.isStderrTty,
          }),
    answer: (document, text) => io.stdout.write(json ? `${JSON.stringify(document, null, 2)}\n` : text()),
  };
};
