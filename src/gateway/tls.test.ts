/** TLS on the gateway's port: both versions of HTTP, what is refused, and certificates that change under load. */
import { X509Certificate } from "node:crypto";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpsServer } from "node:https";
import { connect as connectTcp } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { followCertificate, readCertificate } from "./certificate.ts";
import { makeCertificate } from "./tls.fixture.ts";
import { systemClock } from "../telemetry/clock.ts";
import { callOver } from "./transports.fixture.ts";
import { createWorld, group, sendRaw, service, until } from "./world.fixture.ts";
import type { World } from "./world.fixture.ts";

let world: World | null = null;
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mp-tls-"));
});
afterEach(async () => {
  await world?.close();
  world = null;
  await rm(dir, { recursive: true, force: true });
});

const deploy = async (to: World, origin: string): Promise<string> => {
  const one = service([group([origin])]);
  await to.control.acknowledged(to.control.publish({ services: [one] }));
  return one.id;
};

/** What a handshake comes to: the protocols agreed on, or the error. */
const shake = (port: number, options: ConnectionOptions): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    socket.once("secureConnect", () => {
      resolve(`${socket.getProtocol()} ${String(socket.alpnProtocol)}`);
      socket.destroy();
    });
    socket.once("error", (error) => resolve(error.message));
  });

const servedBy = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? "");
      socket.destroy();
    });
  });

test("HTTP/2 and HTTP/1.1 on one port, by what the caller offers; nothing older than TLS 1.2", async () => {
  world = await createWorld({}, "https1");
  const { port } = world;
  expect(await shake(port, { ALPNProtocols: ["h2", "http/1.1"] })).toBe("TLSv1.3 h2");
  expect(await shake(port, { ALPNProtocols: ["http/1.1"], maxVersion: "TLSv1.2" })).toBe("TLSv1.2 http/1.1");
  expect(await shake(port, {})).toBe("TLSv1.3 false");
  // With a security level at which this side would agree to it.
  const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
  expect(await shake(port, old)).toMatch(/protocol version|unsupported protocol/);
  expect(await shake(port, { ALPNProtocols: ["spdy/3"] })).toMatch(/no application protocol/);
  const id = await deploy(world, await world.instance((_, response) => void response.end("ok")));
  const token = world.token();
  for (const transport of ["https1", "http2"] as const) {
    const answer = await callOver(transport, port, `/v1/infers/${id}`, { token });
    expect([transport, answer.status, answer.body.toString()]).toEqual([transport, 200, "ok"]);
  }
});

test("plain HTTP on the TLS port ends at once", async () => {
  world = await createWorld({}, "https1");
  const answer = await sendRaw(world.port, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").catch(() => "");
  expect(answer).not.toContain("HTTP/");
  expect((await world.call("/healthz")).status).toBe(200);
});

test("a changed certificate is taken, one file after the other, and no request fails meanwhile", async () => {
  const first = await makeCertificate(dir);
  const second = await makeCertificate(dir);
  const files = { certificateFile: join(dir, "live.crt"), keyFile: join(dir, "live.key") };
  await copyFile(first.files.certificateFile, files.certificateFile);
  await copyFile(first.files.keyFile, files.keyFile);
  world = await createWorld({ tls: { files, certificate: first.certificate } }, "https1");
  const here = world;
  const id = await deploy(here, await here.instance((_, response) => void response.end("ok")));
  const token = here.token();
  const kept = connect({ port: here.port, host: "127.0.0.1", rejectUnauthorized: false });
  await new Promise((resolve) => kept.once("secureConnect", resolve));
  let isDone = false;
  let answered = 0;
  const load = async (transport: "https1" | "http2"): Promise<void> => {
    while (!isDone) {
      const answer = await callOver(transport, here.port, `/v1/infers/${id}`, { token });
      expect(answer.status).toBe(200);
      answered += 1;
    }
  };
  const loads = Promise.all([load("https1"), load("http2")]);
  const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;
  await copyFile(second.files.certificateFile, files.certificateFile);
  expect(await servedBy(here.port)).toBe(fingerprint(first.certificate.cert));
  await copyFile(second.files.keyFile, files.keyFile);
  while ((await servedBy(here.port)) !== fingerprint(second.certificate.cert));
  isDone = true;
  await loads;
  expect(answered).toBeGreaterThan(10);
  // The connection from before the change goes on with what it has.
  let text = "";
  kept.on("data", (bytes: Buffer) => (text += bytes.toString()));
  kept.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  await until(() => text.includes('"status":"ok"'));
  kept.destroy();
});

test("names everything that is wrong with the files at once", async () => {
  const good = await makeCertificate(dir);
  const other = await makeCertificate(dir);
  const expired = await makeCertificate(dir, ["-days", "1"]);
  const junk = join(dir, "junk");
  await writeFile(junk, "nothing");
  const problems = (certificateFile: string, keyFile: string, now: number = systemClock.now()): string[] => {
    const read = readCertificate({ certificateFile, keyFile }, now);
    return read.ok ? [] : read.problems.map((one) => `${one.path} ${one.message.replaceAll(`${dir}/`, "")}`);
  };
  const { certificateFile, keyFile } = good.files;
  expect(problems(certificateFile, keyFile)).toEqual([]);
  expect(problems(join(dir, "none"), junk)).toEqual([
    "MODELPORT_TLS_CERT_FILE none does not exist",
    "MODELPORT_TLS_KEY_FILE junk holds no private key in PEM form",
  ]);
  expect(problems(junk, dir)).toEqual([
    expect.stringContaining("MODELPORT_TLS_KEY_FILE"),
    "MODELPORT_TLS_CERT_FILE junk holds no certificate in PEM form",
  ]);
  expect(problems(certificateFile, other.files.keyFile)[0]).toMatch(/is not the key of the certificate/);
  const late = systemClock.now() + 3 * 86_400_000;
  expect(problems(expired.files.certificateFile, other.files.keyFile, late)).toEqual([
    expect.stringMatching(/has expired on \d{4}/),
    expect.stringContaining("is not the key"),
  ]);
  expect(problems(certificateFile, keyFile, 0)[0]).toMatch(/is not valid before/);
});

test("a pair that does not fit is told of once, and the next that fits is taken", async () => {
  const first = await makeCertificate(dir);
  const second = await makeCertificate(dir);
  const files = first.files;
  const due: (() => void)[] = [];
  const events: string[] = [];
  const watch = followCertificate(files, first.certificate, {
    timer: { after: (_ms, callback) => (due.push(callback), { cancel: () => undefined }) },
    now: () => systemClock.now(),
    onChange: () => events.push("taken"),
    onProblems: () => events.push("refused"),
  });
  const look = (): void => due.shift()?.();
  look();
  await copyFile(second.files.certificateFile, files.certificateFile);
  look();
  look();
  await copyFile(second.files.keyFile, files.keyFile);
  look();
  look();
  expect(events).toEqual(["refused", "taken"]);
  await rm(files.keyFile);
  look();
  watch.stop();
  look();
  expect(events).toEqual(["refused", "taken", "refused"]);
  expect(due).toEqual([]);
});

test("half-open handshakes hold nobody else up", async () => {
  world = await createWorld({}, "https1");
  const { port } = world;
  const halves = await Promise.all(
    Array.from(
      { length: 50 },
      () =>
        new Promise<ReturnType<typeof connectTcp>>((resolve) => {
          const socket = connectTcp(port, "127.0.0.1", () => resolve(socket));
          socket.on("error", () => undefined);
        }),
    ),
  );
  for (const half of halves) half.write(Buffer.from([0x16, 3, 1]));
  expect((await world.call("/healthz")).status).toBe(200);
  for (const half of halves) half.destroy();
});

test("calls instances that speak https with self-made certificates, and says so when one does not", async () => {
  world = await createWorld();
  const made = await makeCertificate(dir);
  let connections = 0;
  let resumed = 0;
  const server = createHttpsServer(
    { cert: made.certificate.cert, key: made.certificate.key, keepAliveTimeout: 0 },
    (request, response) => void request.pipe(response.setHeader("connection", "close")),
  );
  server.on("secureConnection", (socket) => {
    connections += 1;
    if (socket.isSessionReused()) resumed += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const secure = await deploy(world, `https://${address}`);
    for (let n = 0; n < 3; n += 1) {
      const answer = await world.call(`/v1/infers/${secure}`, { body: "x".repeat(100_000) });
      expect([answer.status, answer.body.length]).toEqual([200, 100_000]);
    }
    expect(connections).toBe(3);
    expect(resumed).toBeGreaterThan(0);
    const plain = await world.instance((_, response) => void response.end("ok"));
    const wrong = await deploy(world, plain.replace("http:", "https:"));
    const refused = await world.call(`/v1/infers/${wrong}`, { body: "x" });
    expect([refused.status, refused.json["error_code"]]).toEqual([504, "ModelArts.4503"]);
    expect(refused.json["error_msg"]).toContain("please check the service is https");
    const reverse = await deploy(world, `http://${address}`);
    expect((await world.call(`/v1/infers/${reverse}`, { body: "x" })).status).toBe(502);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
