/**
 * How a command reaches the running supervisor: the socket run/upgrade.sock, readable by the owner only. One line asks,
 * lines of JSON tell what happens, the last one how it ended. A command that goes away does not stop what it asked for.
 */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { StartRefused } from "./state.ts";

type Answer =
  | { readonly type: "step"; readonly text: string }
  | { readonly type: "done"; readonly pid: number }
  | { readonly type: "failed"; readonly message: string; readonly hint: string };

const ORDER = "upgrade";

/** As long as control's socket beside it, so that no data directory is too deep for one and not for the other. */
const socketOf = (dataDir: string): string => join(dataDir, "run", "upgrade.sock");

export interface Orders {
  /** No further order; ones that were taken are answered. */
  close(): Promise<void>;
}

/** Takes orders. `upgrade` resolves with the successor's pid; a StartRefused of it is told as it is. */
export const takeOrders = async (
  dataDir: string,
  upgrade: (onStep: (text: string) => void) => Promise<number>,
): Promise<Orders> => {
  const path = socketOf(dataDir);
  const connections = new Set<Socket>();
  const server = createServer((connection) => {
    connections.add(connection);
    connection.once("close", () => connections.delete(connection));
    connection.on("error", () => connection.destroy());
    const tell = (answer: Answer): void => {
      if (connection.writable) connection.write(`${JSON.stringify(answer)}\n`);
    };
    createInterface(connection).once("line", (order) => {
      if (order !== ORDER) return void connection.destroy();
      upgrade((text) => tell({ type: "step", text })).then(
        (pid) => {
          tell({ type: "done", pid });
          connection.end();
        },
        (error: unknown) => {
          const hint =
            error instanceof StartRefused ? error.hint : "See logs/platform in the data directory.";
          tell({ type: "failed", message: (error as Error).message, hint });
          connection.end();
        },
      );
    });
  });
  // A killed supervisor leaves its socket file; the lock says that it is ours to take.
  rmSync(path, { force: true });
  server.listen({ path });
  await once(server, "listening");
  // Stays for whoever still waits on an answer, but is no reason for the process to live.
  server.unref();
  return {
    close: async () => {
      // Removes the file as well. Connections are left to their answers: waiting for them would be waiting for us.
      server.close();
      await Promise.resolve();
    },
  };
};

/** Asks the supervisor to hand over; resolves with its successor's pid, throws StartRefused with the reason. */
export const orderUpgrade = async (dataDir: string, onStep: (text: string) => void): Promise<number> => {
  const connection = connect({ path: socketOf(dataDir) });
  try {
    await once(connection, "connect");
  } catch (error) {
    throw new StartRefused(
      "The running platform takes no orders.",
      "It may be starting or ending, or be of a release that cannot hand over: `modelport down`, then `modelport up`.",
      // The socket's own words, for whoever looks closer.
      { cause: error },
    );
  }
  connection.write(`${ORDER}\n`);
  try {
    for await (const line of createInterface(connection)) {
      const answer = JSON.parse(line) as Answer;
      if (answer.type === "done") return answer.pid;
      if (answer.type === "failed") throw new StartRefused(answer.message, answer.hint);
      onStep(answer.text);
    }
  } finally {
    connection.destroy();
  }
  throw new StartRefused(
    "The supervisor ended before the upgrade was over.",
    "`modelport status` tells what runs now; `modelport up` starts what does not.",
  );
};
