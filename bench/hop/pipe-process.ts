/** The naive hop to compare with: node:http in front, http.request behind, pipes between; no checks, no records. */
import { Agent, createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";

const port = Number(process.argv[2]);
const agent = new Agent({ keepAlive: true });
const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
  const { method, url: path, headers } = request;
  const call = httpRequest({ host: "127.0.0.1", port, agent, method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  call.on("error", () => response.destroy());
  request.pipe(call);
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () =>
  process.send?.({ port: (server.address() as AddressInfo).port }),
);
process.once("disconnect", () => process.exit(0));
