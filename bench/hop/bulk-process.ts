/**
 * The load with large bodies: so many connections send so many bytes and read so many, one request after the other.
 * Told {port, path, token, connections, seconds, bytes} it answers {requests} once every request begun is answered.
 */
import { connect } from "node:net";

export interface BulkLoad {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly connections: number;
  readonly seconds: number;
  readonly bytes: number;
}

const caller = (load: BulkLoad, body: Buffer, until: number): Promise<number> =>
  new Promise((resolve, reject) => {
    const head = `POST ${load.path}/bytes/${load.bytes} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Auth-Token: ${load.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    let requests = 0;
    let answerHead = "";
    let left = 0;
    const send = (): void => {
      answerHead = "";
      socket.cork();
      socket.write(head, "latin1");
      socket.write(body);
      socket.uncork();
    };
    const socket = connect({ port: load.port, host: "127.0.0.1", noDelay: true }, send);
    socket.on("data", (chunk: Buffer) => {
      if (left > 0) left -= chunk.length;
      else {
        answerHead += chunk.toString("latin1");
        const end = answerHead.indexOf("\r\n\r\n");
        if (end < 0) return;
        const length = Number(/\r\ncontent-length: *(\d+)/i.exec(answerHead)?.[1]);
        if (!answerHead.startsWith("HTTP/1.1 200") || length !== load.bytes)
          return void socket.destroy(new Error(answerHead.slice(0, 1000)));
        left = length - (answerHead.length - end - 4);
      }
      if (left > 0) return;
      requests += 1;
      if (performance.now() < until) return send();
      socket.destroy();
      resolve(requests);
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`closed: ${answerHead.slice(0, 1000)}`)));
  });

process.on("message", (load: BulkLoad) => {
  const until = performance.now() + load.seconds * 1000;
  const body = Buffer.alloc(load.bytes, "a");
  Promise.all(Array.from({ length: load.connections }, () => caller(load, body, until))).then(
    (requests) => process.send?.({ requests: requests.reduce((sum, n) => sum + n, 0) }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.once("disconnect", () => process.exit(0));
process.send?.({ port: 0 });
