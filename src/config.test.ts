/** Settings have their defaults, and every wrong one is named at once. */
import { expect, test } from "vitest";
import { readConfig } from "./config.ts";

test("no setting is needed", () => {
  const read = readConfig({});
  expect(read).toMatchObject({
    ok: true,
    config: {
      host: "127.0.0.1",
      port: 8080,
      logLevel: "info",
      tokenHours: 24,
      errorInfo: true,
      databaseUrl: null,
    },
  });
});

test("one file of TLS without the other is refused", () => {
  const read = readConfig({ MODELPORT_TLS_CERT_FILE: "/tls.crt" });
  if (read.ok) throw new Error("it was accepted");
  expect(read.problems.map((p) => p.path)).toEqual(["MODELPORT_TLS_KEY_FILE"]);
  const both = readConfig({ MODELPORT_TLS_CERT_FILE: "/tls.crt", MODELPORT_TLS_KEY_FILE: "/tls.key" });
  expect(both).toMatchObject({ config: { tls: { certificateFile: "/tls.crt", keyFile: "/tls.key" } } });
});

test("every violation comes at once, unknown names included", () => {
  const read = readConfig({ MODELPORT_PORT: "x", MODELPORT_QUEUE_MAX: "-1", MODELPORT_TYPO: "1", HOME: "/" });
  if (read.ok) throw new Error("it was accepted");
  expect(read.problems.map((p) => p.path).toSorted()).toEqual([
    "MODELPORT_PORT",
    "MODELPORT_QUEUE_MAX",
    "MODELPORT_TYPO",
  ]);
});

test("a setting that is empty is one that is not set", () => {
  expect(readConfig({ MODELPORT_PORT: "", MODELPORT_TLS_CERT_FILE: "", MODELPORT_PYTHON: "" })).toMatchObject(
    {
      ok: true,
      config: { port: 8080, tls: null, python: null },
    },
  );
});

test("what a wrong setting may be is said in words", () => {
  const read = readConfig({
    MODELPORT_GATEWAY_THREADS: "99",
    MODELPORT_PREDICT_TIMEOUT_MS: "1",
    MODELPORT_LOG_LEVEL: "loud",
    MODELPORT_ERROR_INFO: "maybe",
  });
  if (read.ok) throw new Error("it was accepted");
  expect(read.problems.map((p) => `${p.path} ${p.message}`).toSorted()).toEqual([
    'MODELPORT_ERROR_INFO is "maybe": must be true or false',
    'MODELPORT_GATEWAY_THREADS is "99": must be at most 64',
    'MODELPORT_LOG_LEVEL is "loud": must be one of trace, debug, info, warn, error',
    'MODELPORT_PREDICT_TIMEOUT_MS is "1": must be at least 100',
  ]);
});

test("devices are all, none or ids, and not both", () => {
  const devices = (text: string) => {
    const read = readConfig({ MODELPORT_DEVICES: text });
    return read.ok ? read.config.devices : read.problems.map(({ path }) => path);
  };
  expect(["all", "none", "0,1", "GPU-8932f937-d72c,MIG-GPU-1/0/0"].map(devices)).toEqual([
    null,
    [],
    ["0", "1"],
    ["GPU-8932f937-d72c", "MIG-GPU-1/0/0"],
  ]);
  for (const text of [
    "foo",
    "-1",
    "/dev/nvidia0",
    "gpu:0",
    "all,0",
    "0,all",
    "none,1",
    "0,none,1",
    "0,",
    "all,none",
  ])
    expect(devices(text), text).toEqual(["MODELPORT_DEVICES"]);
});
