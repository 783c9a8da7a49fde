/** A small real file system that a test can fill: a tmpfs of its own. Needs root; who is not gets a plain directory. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk {
  readonly dir: string;
  /** False where this user may not mount: nothing can be filled then. */
  readonly isSmall: boolean;
  /** Leaves no byte free. */
  fill(): void;
  free(): void;
  remove(): void;
}

export const canMount = process.platform === "linux" && process.getuid?.() === 0;

export const smallDisk = (megabytes: number): SmallDisk => {
  const dir = mkdtempSync(join(tmpdir(), "modelport-disk-"));
  if (canMount) execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=700`, "tmpfs", dir]);
  const ballast = join(dir, "ballast");
  return {
    dir,
    isSmall: canMount,
    fill: () => {
      const fd = openSync(ballast, "a");
      try {
        for (const size of [1 << 20, 4096, 1]) {
          const block = Buffer.alloc(size);
          try {
            while (writeSync(fd, block) > 0);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          }
        }
      } finally {
        closeSync(fd);
      }
    },
    free: () => rmSync(ballast, { force: true }),
    remove: () => {
      if (canMount) execFileSync("umount", [dir]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
};
