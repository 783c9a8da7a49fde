/**
 * Log files of the platform's own processes, bounded: one file and the one before it. For what we write ourselves
 * (access records) the file changes while it grows; for a child's output, which the child writes, when it starts.
 */
import { closeSync, openSync, renameSync, statSync, writeSync } from "node:fs";
import { Writable } from "node:stream";

export const LOG_BYTES_MAX = 64 * 1024 * 1024;

/** Sets a file that has reached `maxBytes` aside as `<file>.1`, replacing the one before. No file is fine. */
export const setAsideIfLarge = (file: string, maxBytes: number = LOG_BYTES_MAX): void => {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size >= maxBytes) renameSync(file, `${file}.1`);
};

/**
 * Appends to a file, setting it aside each time it reaches `maxBytes`. Writes are synchronous: the gateway hands over
 * batches, and a record must be in the file before the process may end.
 */
export const appendToLog = (file: string, maxBytes: number = LOG_BYTES_MAX): Writable => {
  const open = (): number => openSync(file, "a", 0o600);
  setAsideIfLarge(file, maxBytes);
  let fd = open();
  let size = statSync(file).size;
  return new Writable({
    decodeStrings: true,
    write(chunk: Buffer, _encoding, done) {
      try {
        if (size >= maxBytes) {
          closeSync(fd);
          setAsideIfLarge(file, maxBytes);
          fd = open();
          size = 0;
        }
        for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at);
        size += chunk.length;
        done();
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
    final(done) {
      closeSync(fd);
      done();
    },
  });
};
