/**
 * Holds many connections open that are idle: each has carried one request, none carries another. Told {port, path,
 * token, body, connections} it answers {open} once all are idle, and lets them go when it is ended.
 */
import { connect } from "node:net";

export interface IdleLoad {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly body: string;
  readonly connections: number;
}

const AT_A_TIME = 20;

const open = (load: IdleLoad): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port: load.port, host: "127.0.0.1" }, () =>
      socket.write(
        `POST ${load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Auth-Token: ${load.token}\r\nContent-Type: application/json\r\nContent-Length: ${load.body.length}\r\n\r\n${load.body}`,
      ),
    );
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (!text.startsWith("HTTP/1.1 200")) return reject(new Error(text));
      if (text.endsWith("}")) resolve();
    });
    socket.on("error", reject);
    socket.on("close", () => process.send?.({ error: "an idle connection was closed" }));
  });

const openAll = async (load: IdleLoad): Promise<void> => {
  for (let n = 0; n < load.connections; n += AT_A_TIME)
    await Promise.all(Array.from({ length: Math.min(AT_A_TIME, load.connections - n) }, () => open(load)));
  process.send?.({ open: load.connections });
};

process.on("message", (load: IdleLoad) => {
  openAll(load).catch((error: unknown) => process.send?.({ error: String(error) }));
});
process.once("disconnect", () => process.exit(0));
process.send?.({ port: 0 });
