/** The naive hop to compare with: node:http in front, http.request behind, pipes between; no checks, no records. */
import { Agent, createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";

const [host = "127.0.0.1", port = "0"] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const server = createServer((request, response) => {
  const call = httpRequest(
    { host, port: Number(port), agent, method: request.method, path: request.url, headers: request.headers },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    },
  );
  call.on("error", () => response.destroy());
  request.pipe(call);
});
server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.once("disconnect", () => process.exit(0));
