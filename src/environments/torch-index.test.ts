/** Torch comes from its vendor's index where that has it; where not, what that costs is said beforehand. */
import { expect, test } from "vitest";
import { FakeClock } from "../../test/support/clock.ts";
import type { Plan } from "./plan.ts";
import { downloadLine, inWords } from "./sizes.ts";
import { TorchIndex } from "./torch-index.ts";
import { readSizes } from "./uv.ts";

const PLANNED: Extract<Plan, { kind: "planned" }> = {
  kind: "planned",
  lines: ["torch==2.5.1"],
  fromSource: [],
  neededBy: new Map(),
  substitutions: [],
  warnings: [],
};
const GONE: Plan = {
  kind: "refused",
  message: "The package index is gone.",
  problems: [],
  isIndexAtFault: true,
};
const SIZES = new Map([
  ["torch", 906_400_000],
  ["nvidia-cudnn-cu12", 664_800_000],
  ["numpy", 20_000_000],
  ["pillow", 4_400_000],
]);

const world = (vendor: () => Plan) => {
  const clock = new FakeClock();
  const index = new TorchIndex(clock);
  const asked: string[] = [];
  const plan = () =>
    index.plan({
      planWith: (options) => {
        asked.push(options.join(" "));
        return Promise.resolve(options.length === 0 ? PLANNED : vendor());
      },
      sizesOf: () => Promise.resolve(SIZES),
      onLog: () => undefined,
    });
  return { clock, asked, plan };
};

test("takes the vendor's builds, without a warning", async () => {
  expect(await world(() => PLANNED).plan()).toEqual({
    plan: PLANNED,
    options: ["--torch-backend", "cpu"],
    warnings: [],
  });
});

test("names the size where they cannot be had, and asks an index out of reach again only after an hour", async () => {
  const { clock, asked, plan } = world(() => GONE);
  const first = await plan();
  expect(first).toMatchObject({ plan: PLANNED, options: [] });
  expect(first.warnings).toEqual([expect.stringContaining("1.6 GB to download")]);
  expect((await plan()).warnings).toEqual(first.warnings);
  expect(asked).toEqual(["--torch-backend cpu", "", ""]);
  await clock.advance(3_600_001);
  await plan();
  expect(asked.slice(3)).toEqual(["--torch-backend cpu", ""]);
});

test("does not put another release of the vendor's in the place of the one asked for", async () => {
  const substitutions = [{ asked: "torch==1.8.0", got: "torch==2.5.1", reason: "none" }];
  const { plan, asked } = world(() => ({ ...PLANNED, substitutions }));
  expect((await plan()).options).toEqual([]);
  await plan();
  expect(asked).toEqual(["--torch-backend cpu", "", "--torch-backend cpu", ""]);
});

test("keeps the vendor's builds where other pins had to be replaced", async () => {
  const substitutions = [{ asked: "numpy==1.15.0", got: "numpy==1.23.5", reason: "none" }];
  const planned = { ...PLANNED, substitutions };
  const { plan, asked } = world(() => planned);
  expect(await plan()).toEqual({ plan: planned, options: ["--torch-backend", "cpu"], warnings: [] });
  expect(asked).toEqual(["--torch-backend cpu"]);
});

test("says what there is to download, by what is largest, and nothing where that is little", () => {
  expect(downloadLine(SIZES, 4)).toBe(
    "downloading 1.6 GB at most (torch 906 MB, nvidia-cudnn-cu12 665 MB, numpy 20 MB, …), less what was downloaded before",
  );
  expect(downloadLine(new Map([["numpy", 20_000_000]]), 3)).toBe(
    "downloading 20 MB at most (numpy 20 MB, and 2 more of unknown size), less what was downloaded before",
  );
  expect(downloadLine(new Map([["six", 11_000]]), 1)).toBeNull();
  expect([0, 999, 1_000, 9_960_000, 2_951_000_000].map(inWords)).toEqual([
    "0 bytes",
    "999 bytes",
    "1.0 kB",
    "10.0 MB",
    "3.0 GB",
  ]);
});

test("reads the largest of the files that one project may come as, and passes over those of unknown size", () => {
  const lock = `lock-version = "1.0"

[[packages]]
name = "numpy"
version = "1.19.5"
wheels = [
    { url = "https://x/a.whl", size = 13391355, hashes = { sha256 = "8b" } },
    { url = "https://x/b.whl", size = 14835495, hashes = { sha256 = "a4" } },
]

[[packages]]
name = "pyspark"
version = "3.5.9"
sdist = { url = "https://x/pyspark.tar.gz", size = 317000000, hashes = { sha256 = "00" } }

[[packages]]
name = "ours"
version = "1.0"
archive = { path = "/w/ours-1.0-py3-none-any.whl", hashes = { sha256 = "f8" } }
`;
  expect([...readSizes(lock)]).toEqual([
    ["numpy", 14_835_495],
    ["pyspark", 317_000_000],
  ]);
});
