/** Probes against real sockets. Time is real too, and every wait is for a condition. */
import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo, Server as TcpServer, Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../telemetry/clock.ts";
import { PROBE_INTERVAL_MS, PROBE_TIMEOUT_MS, Prober } from "./health.ts";
import type { Watch } from "./health.ts";
import { FRESH, nextHealth } from "./health-state.ts";
import type { Health, ProbeResult } from "./health-state.ts";
import { systemTimer } from "./timer.ts";
import { until } from "./world.fixture.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const listen = async (server: Server | TcpServer, port = 0): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
};

/** A server that a test can end as a kill would: with all its connections, at once. */
const tcp = (onConnection: (socket: Socket) => void) => {
  const sockets = new Set<Socket>();
  const counts = { connections: 0 };
  const server = createTcpServer((socket) => {
    counts.connections += 1;
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  const kill = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  cleanups.push(async () => {
    if (server.listening) await kill();
  });
  return { server, counts, sockets, kill };
};

const http = async (listener: RequestListener): Promise<number> => {
  const server = createServer(listener);
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return listen(server);
};

const answer = (status: string): string => `HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`;

interface Watched {
  readonly results: ProbeResult[];
  readonly watch: Watch;
  health: Health;
}

const watch = (port: number, healthPath = "/health"): Watched => {
  const deps = { timer: systemTimer, monotonicMs: () => systemClock.monotonicMs() };
  const results: ProbeResult[] = [];
  const watched: Watched = {
    results,
    health: FRESH,
    watch: new Prober(deps).watch({
      url: `http://127.0.0.1:${port}`,
      healthPath,
      probed: (result) => {
        results.push(result);
        const signal = { kind: "probed", result, inFlight: 0 } as const;
        watched.health = nextHealth(watched.health, signal, deps.monotonicMs());
      },
    }),
  };
  cleanups.push(() => watched.watch.stop());
  return watched;
};

/** Waits for as many results as there are after `more` others. */
const probes = async ({ results, watch: one }: Watched, more: number): Promise<ProbeResult[]> => {
  const from = results.length;
  await until(() => {
    one.hurry();
    return results.length >= from + more;
  });
  return results.slice(from);
};

test("from the last sign of life to the verdict is less than a second", () => {
  expect(PROBE_INTERVAL_MS + PROBE_TIMEOUT_MS).toBeLessThan(1_000);
});

test("an instance that accepts and never answers is out, and comes back when it answers", async () => {
  let isDeaf = false;
  const port = await http((_request, response) => {
    if (!isDeaf) response.end();
  });
  const watched = watch(port);
  expect(await probes(watched, 2)).toEqual(["ok", "ok"]);
  isDeaf = true;
  await until(() => watched.health.is === "out");
  expect(watched.health).toMatchObject({ why: "silent" });
  isDeaf = false;
  await until(() => watched.health.is === "recovering");
});

test("an instance that closes every connection without a word is out", async () => {
  const { server } = tcp((socket) => socket.end());
  const watched = watch(await listen(server));
  await until(() => watched.health.is === "out");
  expect(watched.health).toMatchObject({ why: "refused" });
});

test("an instance that is killed is out, and comes back on its port", async () => {
  const { server, kill } = tcp((socket) => socket.on("data", () => socket.write(answer("200 OK"))));
  const port = await listen(server);
  const watched = watch(port);
  expect(await probes(watched, 1)).toEqual(["ok"]);
  await kill();
  await until(() => watched.health.is === "out");
  expect(watched.health).toMatchObject({ why: "refused" });
  await listen(server, port);
  await until(() => watched.health.is === "recovering");
});

test("an instance that comes and goes is held out longer every time", async () => {
  let isThere = true;
  const { server } = tcp((socket) => {
    if (isThere) socket.on("data", () => socket.end(answer("200 OK")));
    else socket.destroy();
  });
  const watched = watch(await listen(server));
  const holds: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    isThere = false;
    await until(() => watched.health.is === "out");
    const { health } = watched;
    if (health.is === "out") holds.push(health.outs);
    // No probe on the way from before: the sign that brings it back must come from here on.
    isThere = true;
    if (round === 2) break;
    await until(() => watched.health.is === "recovering");
  }
  expect(holds).toEqual([1, 2, 3]);
  expect((await probes(watched, 2)).at(-1)).toBe("ok");
  // The probe is content, the hold is not over.
  expect(watched.health.is).toBe("out");
});

test.each([
  ["200 OK", "ok"],
  ["204 No Content", "ok"],
  ["404 Not Found", "ok"],
  ["429 Too Many Requests", "ok"],
  ["503 Service Unavailable", "unready"],
  ["500 Internal Server Error", "unready"],
] as const)("an instance that answers %s is %s", async (status, result) => {
  const { server } = tcp((socket) => socket.on("data", () => socket.write(answer(status))));
  const watched = watch(await listen(server));
  expect(await probes(watched, 2)).toEqual([result, result]);
});

test("what answers something else than HTTP is not ready; what never ends its answer is there", async () => {
  const garbage = tcp((socket) => socket.on("data", () => socket.end("SSH-2.0-x\r\n")));
  const endless = tcp((socket) => socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nmore")));
  expect(await probes(watch(await listen(garbage.server)), 1)).toEqual(["unready"]);
  expect(await probes(watch(await listen(endless.server)), 1)).toEqual(["ok"]);
});

test("asks for the path it was told, on one connection for ten probes", async () => {
  const heads: string[] = [];
  const { server, counts } = tcp((socket) =>
    socket.on("data", (bytes: Buffer) => {
      const head = bytes.toString();
      heads.push(head);
      if (/^Connection: close\r$/m.test(head)) socket.end(answer("200 OK"));
      else socket.write(answer("200 OK"));
    }),
  );
  const port = await listen(server);
  const watched = watch(port, "/healthz?deep=1");
  await probes(watched, 20);
  expect(counts.connections).toBe(2);
  expect(heads[0]).toBe(
    `GET /healthz?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUser-Agent: modelport-probe\r\n\r\n`,
  );
});

test("a connection lost between two probes says nothing against an instance that takes a new one", async () => {
  const { server, counts, sockets } = tcp((socket) =>
    socket.on("data", () => {
      // The kept connection hears a second question and is closed over it.
      if (seen.has(socket)) return void socket.destroy();
      seen.add(socket);
      socket.write(answer("200 OK"));
    }),
  );
  const seen = new Set<Socket>();
  const watched = watch(await listen(server));
  expect(new Set(await probes(watched, 6))).toEqual(new Set(["ok"]));
  expect(counts.connections).toBeGreaterThanOrEqual(6);
  expect(sockets.size).toBeLessThanOrEqual(1);
});

test("time in which the gateway itself stands still counts against nobody", async () => {
  const { server } = tcp((socket) =>
    socket.on("data", () => {
      // The probe is under way; now this process does nothing for longer than the timeout.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PROBE_TIMEOUT_MS + 100);
      socket.write(answer("200 OK"));
    }),
  );
  const watched = watch(await listen(server));
  expect(await probes(watched, 2)).toEqual(["ok", "ok"]);
});

test("stopped, it leaves no connection and asks nothing more", async () => {
  const { server, sockets, counts } = tcp((socket) =>
    socket.on("data", () => socket.write(answer("200 OK"))),
  );
  const watched = watch(await listen(server));
  await probes(watched, 1);
  watched.watch.stop();
  watched.watch.hurry();
  await until(() => sockets.size === 0);
  const { connections } = counts;
  const other = watch((server.address() as AddressInfo).port);
  await probes(other, 2);
  expect(watched.results).toHaveLength(1);
  expect(counts.connections).toBe(connections + 1);
});
