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

test("every violation comes at once, unknown names included", () => {
  const read = readConfig({ MODELPORT_PORT: "x", MODELPORT_QUEUE_MAX: "-1", MODELPORT_TYPO: "1", HOME: "/" });
  if (read.ok) throw new Error("it was accepted");
  expect(read.problems.map((p) => p.path).toSorted()).toEqual([
    "MODELPORT_PORT",
    "MODELPORT_QUEUE_MAX",
    "MODELPORT_TYPO",
  ]);
});
