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
