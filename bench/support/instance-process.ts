/**
 * The instance behind every hop, as cheap as node can be: a raw socket server that reads the whole body and answers
 * only then. `/bytes/N` in the path asks for N bytes, else it is about 100 bytes of JSON.
 *
 *   node instance-process.ts [milliseconds per request]
 */
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

const serviceMs = Number(process.argv[2] ?? 0);
const small = Buffer.from(
  JSON.stringify({ data: { resp_data: [{ predictresult: "setosa", probabilities: [0.97, 0.02, 0.01] }] } }),
);
const answers = new Map<number, readonly [head: string, body: Buffer]>();

const answerOf = (bytes: number): readonly [string, Buffer] => {
  let answer = answers.get(bytes);
  if (answer === undefined) {
    const body = bytes === 0 ? small : Buffer.alloc(bytes, "a");
    answer = [
      `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nKeep-Alive: timeout=60\r\nContent-Length: ${body.length}\r\n\r\n`,
      body,
    ];
    answers.set(bytes, answer);
  }
  return answer;
};

const serve = (socket: Socket): void => {
  let head = "";
  let bodyLeft = 0;
  let wanted = 0;
  const answer = (): void => {
    if (socket.destroyed) return;
    const [text, body] = answerOf(wanted);
    socket.cork();
    socket.write(text, "latin1");
    socket.write(body);
    socket.uncork();
  };
  const complete = (): void => void (serviceMs === 0 ? answer() : setTimeout(answer, serviceMs));
  /** False: this server knows bodies with a length only, and every hop here is given such. */
  const readHead = (): boolean => {
    wanted = Number(/^\S+ \S*\/bytes\/(\d+)/.exec(head)?.[1] ?? 0);
    bodyLeft = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    return !/\r\ntransfer-encoding:/i.test(head);
  };
  socket.on("data", (chunk: Buffer) => {
    let rest = chunk;
    while (rest.length > 0) {
      if (bodyLeft > 0) {
        const taken = Math.min(bodyLeft, rest.length);
        bodyLeft -= taken;
        rest = rest.subarray(taken);
        if (bodyLeft === 0) complete();
        continue;
      }
      const known = head.length;
      head += rest.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      rest = rest.subarray(end + 4 - known);
      head = head.slice(0, end + 2);
      if (!readHead()) return void socket.end("HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n");
      head = "";
      if (bodyLeft === 0) complete();
    }
  });
  socket.on("error", () => undefined);
};

const server = createServer({ noDelay: true }, serve);
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () =>
  process.send?.({ port: (server.address() as AddressInfo).port }),
);
process.once("disconnect", () => process.exit(0));
