/** The CliIo of the real process. main.ts adds what only it has: the clock, the interrupt and the platform. */
import { join } from "node:path";
import type { CliIo } from "./io.ts";

const FALLBACK_COLUMNS = 100;

export const processIo = (given: Pick<CliIo, "dataDir" | "clock" | "interrupt" | "platform">): CliIo => {
  const { stdout, stderr, stdin } = process;
  for (const stream of [stdout, stderr]) {
    // `modelport service list | head`: the reader has seen enough, which is no failure.
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0);
      throw error;
    });
  }
  return {
    ...given,
    stdout: { write: (chunk) => void stdout.write(chunk) },
    stderr: { write: (chunk) => void stderr.write(chunk) },
    stdin,
    isTty: stdout.isTTY === true,
    isStderrTty: stderr.isTTY === true,
    // hasColors() knows NO_COLOR, TERM=dumb and the like.
    colour: stdout.isTTY === true && stdout.hasColors(),
    columns: stdout.columns ?? FALLBACK_COLUMNS,
    profilePath: join(given.dataDir, "cli.json"),
    examplesDir: join(import.meta.dirname, "..", "..", "examples"),
  };
};
