/**
 * Log files of the platform's own processes, bounded: one file and the one before it. For what we write ourselves
 * (access records) the file changes while it grows; for a child's output, which the child writes, when it starts.
 * A disk that is full costs the lines that come meanwhile, counted, and nothing else: logging goes on once there is room.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, renameSync, statSync, writeSync } from "node:fs";
import { Writable } from "node:stream";

export const LOG_BYTES_MAX = 64 * 1024 * 1024;

/** Sets a file that has reached `maxBytes` aside as `<file>.1`, replacing the one before. No file is fine. */
export const setAsideIfLarge = (file: string, maxBytes: number = LOG_BYTES_MAX): void => {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size >= maxBytes) renameSync(file, `${file}.1`);
};

/** The system's part of a log file; tests pass a disk that fills up. */
export interface LogFileSystem {
  readonly write: (fd: number, chunk: Buffer, from: number) => number;
  readonly truncate: (fd: number, size: number) => void;
}

const REAL: LogFileSystem = {
  write: (fd, chunk, from) => writeSync(fd, chunk, from),
  truncate: ftruncateSync,
};

/**
 * Appends to a file, setting it aside each time it reaches `maxBytes`. Writes are synchronous: the gateway hands over
 * batches, and a record must be in the file before the process may end.
 *
 * Never fails: a chunk that the disk does not take is lost whole, `dropped` is emitted with its number of lines, and the
 * next chunk is tried like any other. A part that was written is cut off again, so that the file holds whole lines.
 */
export const appendToLog = (
  file: string,
  maxBytes: number = LOG_BYTES_MAX,
  system: LogFileSystem = REAL,
): Writable => {
  /** Null while the file could not be opened. Never a number that was closed: somebody else may have it by now. */
  let fd: number | null = null;
  let size = 0;

  const close = (): void => {
    if (fd !== null) closeSync(fd);
    fd = null;
  };
  const append = (chunk: Buffer): void => {
    if (fd !== null && size >= maxBytes) close();
    if (fd === null) {
      setAsideIfLarge(file, maxBytes);
      fd = openSync(file, "a", 0o600);
      size = fstatSync(fd).size;
    }
    try {
      for (let at = 0; at < chunk.length;) at += system.write(fd, chunk, at);
    } catch (error) {
      system.truncate(fd, size);
      throw error;
    }
    size += chunk.length;
  };

  const log = new Writable({
    decodeStrings: true,
    write(chunk: Buffer, _encoding, done) {
      try {
        append(chunk);
      } catch (error) {
        log.emit("dropped", linesIn(chunk), error);
      }
      done();
    },
    final(done) {
      close();
      done();
    },
  });
  return log;
};

const linesIn = (chunk: Buffer): number => {
  let lines = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines += 1;
  return lines;
};

/**
 * Writes text to an open file of this process (its standard error, say) and loses it when there is no room: what a
 * process says about itself must never be what ends it.
 */
export const sayTo = (fd: number, text: string): void => {
  try {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  } catch {
    // A full disk, or a reader that has gone.
  }
};
