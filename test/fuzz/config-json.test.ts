/**
 * 200 damaged config.json through POST /models of one running platform: never a 500, every import ends as published or as
 * failed with events that say why, and the platform is as well afterwards as before.
 *
 * Names of dependencies are real or refused by the check itself: an invented name would be asked of the package index.
 */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { checkConfig } from "../../src/core/config-json.ts";
import { deploy, echo, entry, eventsOf, importModel, predict, upload } from "../support/packages.ts";
import type { ModelView } from "../support/packages.ts";
import { Platform, processesOf, until } from "../support/platform.ts";

const CASES = 200;
const SEED = 20_261_123;
/** More at once would only wait: imports run two at a time. */
const LANES = 4;

const platform = new Platform();
beforeAll(() => platform.start());
afterAll(() => platform.stop());

const nasty = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constantFrom(
    "",
    " ",
    "__proto__",
    "constructor",
    "../..",
    "\u0000",
    "\ud800",
    "a".repeat(5000),
    "null",
    "1e999",
  ),
);
const value: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: nasty },
  { weight: 2, arbitrary: fc.oneof(fc.double(), fc.integer()) },
  { weight: 2, arbitrary: fc.constantFrom(null, true, false, [], {}, [[]], [{}], Number.MAX_SAFE_INTEGER) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
);

/** A good document in which members are replaced, removed or added, at any depth. */
const mutated = (good: unknown): fc.Arbitrary<unknown> => {
  if (Array.isArray(good)) {
    return fc.oneof(
      { weight: 20, arbitrary: fc.tuple(...good.map(mutated)) },
      { weight: 1, arbitrary: fc.array(mutated(good[0]), { maxLength: 3 }) },
      { weight: 1, arbitrary: value },
    );
  }
  if (typeof good === "object" && good !== null) {
    const members = fc.record(
      Object.fromEntries(Object.entries(good).map(([key, member]) => [key, mutated(member)])),
    );
    return fc.oneof(
      { weight: 30, arbitrary: members },
      {
        weight: 3,
        arbitrary: fc
          .tuple(members, fc.subarray(Object.keys(good)))
          .map(([all, kept]) => Object.fromEntries(kept.map((key) => [key, all[key]]))),
      },
      {
        weight: 3,
        arbitrary: fc
          .tuple(members, fc.dictionary(nasty, value, { maxKeys: 3 }))
          .map(([all, more]) => ({ ...all, ...more })),
      },
      { weight: 1, arbitrary: value },
    );
  }
  return fc.oneof({ weight: 12, arbitrary: fc.constant(good) }, { weight: 1, arbitrary: value });
};

const GOOD = {
  model_algorithm: "predict_analysis",
  model_type: "Scikit_Learn",
  runtime: "python3.6",
  metrics: { f1: 0.34, accuracy: 0.98, precision: 0.9, recall: 0.8 },
  apis: [
    {
      protocol: "http",
      url: "/",
      method: "post",
      request: {
        "Content-type": "application/json",
        data: { type: "object", properties: { a: { type: "number" } } },
      },
      response: { "Content-type": "application/json", data: { type: "object" } },
    },
  ],
  health: {
    check_method: "HTTP",
    url: "/health",
    protocol: "http",
    initial_delay_seconds: "0",
    timeout_seconds: "5",
    period_seconds: "10",
    failure_threshold: "3",
  },
};
const dependencies = fc.array(
  fc.record({
    installer: fc.constantFrom("pip", "conda", "", null, 7),
    packages: fc.array(
      fc.record(
        {
          package_name: fc.constantFrom(
            "",
            " ",
            "numpy>1",
            "-r /etc/passwd",
            "a b",
            "../x.whl",
            "no-such.whl",
            null,
            5,
          ),
          package_version: nasty,
          restraint: fc.constantFrom("EXACT", "ATLEAST", "ATMOST", "ABOUT", null, 0),
        },
        { requiredKeys: ["package_name"] },
      ),
      { minLength: 1, maxLength: 3 },
    ),
  }),
  { minLength: 1, maxLength: 2 },
);

const documents: fc.Arbitrary<string> = fc.oneof(
  { weight: 12, arbitrary: mutated(GOOD).map((document) => JSON.stringify(document) ?? "") },
  {
    weight: 4,
    arbitrary: fc
      .tuple(mutated(GOOD), dependencies)
      .map(([document, asked]) =>
        JSON.stringify(
          typeof document === "object" && document !== null ? { ...document, dependencies: asked } : document,
        ),
      ),
  },
  // Cut, doubled or with a byte too many: texts that are nearly JSON.
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(JSON.stringify(GOOD).length), nasty)
      .map(([at, text]) => JSON.stringify(GOOD).slice(0, at) + text),
  },
  { weight: 1, arbitrary: nasty },
);

it(`${CASES} damaged config.json: never a 500, each import ends with its reason`, async () => {
  // The engine's environment, built once; also what the platform must still do afterwards.
  const sound = await importModel(platform, "sound", "1.0.0", echo("1"));
  expect(sound.status, JSON.stringify(sound.events)).toBe("published");
  const before = processesOf(platform.dataDir).length;
  const { roles } = platform.state;
  // Otherwise nothing would ever get past the first check.
  expect(checkConfig(JSON.stringify(GOOD)).problems).toEqual([]);
  const package_ = echo("1");
  const texts = fc.sample(documents, { seed: SEED, numRuns: CASES });
  const ends = { published: 0, failed: 0, refused: 0 };

  const one = async (text: string, index: number): Promise<void> => {
    const about = `case ${index}: ${text.slice(0, 400)}`;
    const folder = `case-${index}`;
    const source_location = await upload(platform, folder, {
      ...package_,
      "config.json": new TextEncoder().encode(text),
    });
    const created = await platform.call("POST", "/v1/{project_id}/models", {
      model_name: folder,
      model_version: "1.0.0",
      model_type: "Scikit_Learn",
      source_location,
    });
    expect(created.status, about).toBeLessThan(500);
    if (created.status !== 200) {
      expect(created.body, about).toMatchObject({ error_code: expect.stringMatching(/^ModelArts\.\d{4}$/) });
      ends.refused++;
      return;
    }
    const id = (created.body as ModelView).model_id;
    const status = await until(`${about} to end`, async () => {
      const answer = await platform.call("GET", `/v1/{project_id}/models/${id}`);
      expect(answer.status, about).toBe(200);
      const now = (answer.body as ModelView).model_status;
      return now === "publishing" ? null : now;
    });
    const events = await eventsOf(platform, "models", id);
    if (status === "published") {
      ends.published++;
      return;
    }
    ends.failed++;
    expect(status, about).toBe("failed");
    const abnormal = events.filter((event) => event.event_type === "abnormal").map((e) => e.event_info);
    // What is wrong, and that the import failed because of it; an internal error would be ours.
    expect(abnormal.length, about).toBeGreaterThan(1);
    expect(abnormal.at(-1), about).toMatch(/^Failed to import the model\. Error: .+/);
    expect(abnormal.join("\n"), about).not.toMatch(/internal|TypeError|undefined|\[object Object\]/i);
  };
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < texts.length; index = next++) await one(texts[index] ?? "", index);
  };
  await Promise.all(Array.from({ length: LANES }, lane));

  expect(ends.published + ends.failed + ends.refused).toBe(CASES);
  // A corpus that never gets through, or always, would show little.
  expect(ends.failed).toBeGreaterThan(CASES / 3);
  expect(ends.published, JSON.stringify(ends)).toBeGreaterThan(5);
  expect(platform.state.roles).toEqual(roles);
  await until("no process beyond those before", () =>
    processesOf(platform.dataDir).length === before ? true : null,
  );
  const service = await deploy(platform, "after-all", [entry(sound.id)]);
  expect((await predict(platform, service, {})).status).toBe(200);
}, 300_000);
