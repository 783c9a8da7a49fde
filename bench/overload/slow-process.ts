/**
 * Callers that are as slow as they dare, in four ways. Told {port, path, token, kind, count} it opens them and answers
 * {open}; asked {report} it answers {closed}: after how many milliseconds the other side ended each that it has ended.
 */
import { connect } from "node:net";

export type SlowKind = "slow reader" | "slow head" | "slow body" | "silent";

export interface SlowClients {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly kind: SlowKind;
  readonly count: number;
  /** They come at even distances over this time. */
  readonly overMs: number;
}

const ANSWER_BYTES = 10_000_000;
const READ_BYTES_PER_SECOND = 1024;
const closed: number[] = [];

const openOne = ({ port, path, token, kind }: SlowClients): Promise<void> =>
  new Promise((resolve) => {
    const head = (more: string): string =>
      `POST ${path}${kind === "slow reader" ? `/bytes/${ANSWER_BYTES}` : ""} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Auth-Token: ${token}\r\nContent-Type: application/json\r\n${more}`;
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const openedAt = performance.now();
    let drip: NodeJS.Timeout | null = null;
    const everySecond = (work: () => void): void => void (drip = setInterval(work, 1_000));
    socket.on("connect", () => {
      if (kind === "slow reader") {
        socket.write(head("Content-Length: 2\r\n\r\n{}"));
        // A listener for `readable` makes the socket fill its own buffer, and no more, until read() takes from it.
        socket.on("readable", () => undefined);
        everySecond(() => void socket.read(READ_BYTES_PER_SECOND));
      } else if (kind === "slow head") {
        socket.write(head("X-Drip: "));
        everySecond(() => void socket.write("x"));
      } else if (kind === "slow body") {
        socket.write(head(`Content-Length: 100000\r\n\r\n`));
        everySecond(() => void socket.write("x"));
      }
      if (kind !== "slow reader") socket.resume();
      resolve();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (drip !== null) clearInterval(drip);
      closed.push(performance.now() - openedAt);
      resolve();
    });
  });

process.on("message", (order: SlowClients | { readonly report: true }) => {
  if ("report" in order) return void process.send?.({ closed });
  const { count, overMs } = order;
  const opened = Array.from({ length: count }, async (_, n) => {
    await new Promise((resolve) => setTimeout(resolve, (n * overMs) / count));
    await openOne(order);
  });
  void Promise.all(opened).then(() => process.send?.({ open: count }));
});
process.once("disconnect", () => process.exit(0));
process.send?.({ port: 0 });
