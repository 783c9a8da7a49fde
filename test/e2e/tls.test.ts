/**
 * `modelport up` with a self-made certificate, as a user does it: predictions by curl over both versions of HTTP, the
 * command line without a word about certificates, and a renewal while everything runs.
 */
import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeCertificate } from "../../src/gateway/tls.fixture.ts";
import type { MadeCertificate } from "../../src/gateway/tls.fixture.ts";
import { deploy, echo, entry, importModel } from "../support/packages.ts";
import { Platform, until } from "../support/platform.ts";

const dir = mkdtempSync(join(tmpdir(), "modelport-tls-"));
const files = { cert: join(dir, "live.crt"), key: join(dir, "live.key") };
const trusted = getCACertificates("default");
const platform = new Platform({ MODELPORT_TLS_CERT_FILE: files.cert, MODELPORT_TLS_KEY_FILE: files.key });
let first: MadeCertificate;
let second: MadeCertificate;
let id = "";

const install = (made: MadeCertificate): void => {
  copyFileSync(made.files.certificateFile, files.cert);
  copyFileSync(made.files.keyFile, files.key);
};
const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;
const served = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port: platform.state.port, host: "127.0.0.1" });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? "");
      socket.destroy();
    });
  });

beforeAll(async () => {
  [first, second] = [await makeCertificate(dir), await makeCertificate(dir)];
  // For this process's own calls.
  setDefaultCACertificates([...trusted, first.certificate.cert, second.certificate.cert]);
  install(first);
  await platform.start();
  id = await deploy(platform, "echo", [entry((await importModel(platform, "echo", "1.0.0", echo("1"))).id)]);
});
afterAll(async () => {
  await platform.stop();
  setDefaultCACertificates(trusted);
  rmSync(dir, { recursive: true, force: true });
});

const curl = async (...options: readonly string[]): Promise<string> => {
  const url = `${platform.state.url}/v1/infers/${id}`;
  const fields = ["-H", `X-Auth-Token: ${await platform.token()}`, "-H", "Content-Type: application/json"];
  const args = ["-sS", "-o", "/dev/null", "-w", "%{http_code} over %{http_version}", ...fields, "-d", "{}"];
  return (await platform.run("curl", [...args, ...options, url])).output;
};

test("callers that trust the certificate predict over HTTP/1.1 and HTTP/2; others do not get that far", async () => {
  expect(platform.state.url).toMatch(/^https:/);
  expect(await curl("--cacert", files.cert, "--http1.1")).toBe("200 over 1.1");
  expect(await curl("--cacert", files.cert, "--http2")).toBe("200 over 2");
  expect(await curl()).toMatch(/certificate/);
});

test("a renewed certificate is served without a restart, and the command line goes with it", async () => {
  const before = platform.state.roles.gateway;
  expect(await platform.cli("service", "list")).toMatchObject({ code: 0 });
  expect(await served()).toBe(fingerprint(first.certificate.cert));
  install(second);
  const renewed = fingerprint(readFileSync(files.cert, "utf8"));
  await until("the renewed certificate", async () => (await served()) === renewed);
  expect(await curl("--cacert", files.cert, "--http2")).toBe("200 over 2");
  const listed = await platform.cli("service", "list", "--json");
  expect(listed.code, listed.output).toBe(0);
  expect(listed.stdout).toContain(id);
  expect(platform.state.roles.gateway).toEqual(before);
});
