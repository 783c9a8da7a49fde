/**
 * What instances print, one file each. Instances append to a file they opened once, so a file that has grown too large
 * is copied aside and cut to nothing (lines printed in that instant are lost); a rename would leave them writing to
 * the old one. At most twice LOG_BYTES_MAX is kept of an instance.
 */
import { copyFileSync, statSync, truncateSync } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import type { InstanceId } from "../../core/ids.ts";
import type { LogLine } from "../runner.ts";

const LOG_BYTES_MAX = 10 * 1024 * 1024;
const TAIL_BYTES_MAX = 1024 * 1024;
const READ_BYTES = 64 * 1024;
const FOLLOW_MS = 250;

/** Cuts the log when it is too large. */
export const rotate = (path: string, bytesMax = LOG_BYTES_MAX): void => {
  try {
    if (statSync(path).size <= bytesMax) return;
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
  } catch {
    // No log, or no room for the copy: tried again at the next look.
  }
};

/** The last lines of a file, oldest first; empty when there is none. */
export const tailLines = async (path: string, lines: number): Promise<readonly string[]> => {
  const file = await openOrNull(path);
  if (file === null) return [];
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - TAIL_BYTES_MAX);
    const buffer = Buffer.alloc(size - from);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
    const found = buffer.toString("utf8", 0, bytesRead).split("\n");
    if (found.at(-1) === "") found.pop();
    // The first line is cut when the file is longer than what was read.
    if (from > 0) found.shift();
    return lines === 0 ? [] : found.slice(-lines);
  } finally {
    await file.close();
  }
};

/** The last lines of all files of a directory, the youngest instance last; then, with `follow`, what comes. */
export const readLogs = async function* (
  directory: string,
  clock: Clock,
  options: { tail: number; follow: boolean; signal: AbortSignal },
): AsyncGenerator<LogLine> {
  const followed = new Map<string, Followed>();
  const begin: LogLine[] = [];
  for (const name of await logNames(directory)) {
    const path = join(directory, name);
    // Where following goes on; lines printed between the two reads come twice rather than never.
    followed.set(name, { offset: await sizeOf(path), rest: "" });
    const current = await tailLines(path, options.tail);
    const older = await tailLines(`${path}.1`, options.tail - current.length);
    for (const text of [...older, ...current]) begin.push({ instance: instanceOf(name), text });
  }
  yield* options.tail === 0 ? [] : begin.slice(-options.tail);
  while (options.follow && !options.signal.aborted) {
    for (const name of await logNames(directory)) {
      const state = followed.get(name) ?? { offset: 0, rest: "" };
      followed.set(name, state);
      for (const text of await readNew(join(directory, name), state))
        yield { instance: instanceOf(name), text };
    }
    await clock.sleep(FOLLOW_MS, options.signal);
  }
};

interface Followed {
  offset: number;
  /** The line that is not complete yet. */
  rest: string;
}

const readNew = async (path: string, state: Followed): Promise<readonly string[]> => {
  const file = await openOrNull(path);
  if (file === null) return [];
  try {
    const { size } = await file.stat();
    if (size < state.offset) {
      state.offset = 0;
      state.rest = "";
    }
    const lines: string[] = [];
    const buffer = Buffer.alloc(READ_BYTES);
    while (state.offset < size) {
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, state.offset);
      if (bytesRead === 0) break;
      // Whole characters only: the bytes after the last line break are read again with what follows them.
      const end = buffer.subarray(0, bytesRead).lastIndexOf(10);
      const isFull = end === -1 && bytesRead === READ_BYTES;
      if (end === -1 && !isFull) break;
      const take = isFull ? bytesRead : end + 1;
      const parts = (state.rest + buffer.toString("utf8", 0, take)).split("\n");
      state.rest = parts.pop() ?? "";
      state.offset += take;
      lines.push(...parts);
    }
    return lines;
  } finally {
    await file.close();
  }
};

const logNames = async (directory: string): Promise<readonly string[]> => {
  const names = await readdir(directory).catch(() => []);
  return names.filter((name) => name.endsWith(".log")).toSorted((a, b) => numberOf(a) - numberOf(b));
};

const instanceOf = (name: string): InstanceId => name.slice(0, -".log".length) as InstanceId;
const numberOf = (name: string): number => Number(/-(\d+)\.log$/.exec(name)?.[1] ?? 0);

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    (s) => s.size,
    () => 0,
  );

const openOrNull = (path: string): Promise<FileHandle | null> => open(path, "r").catch(() => null);
