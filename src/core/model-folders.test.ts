import { expect, test } from "vitest";
import { modelFolders, runsOf } from "./model-folders.ts";

test.each([
  ["", null, ["model"], null, "V"],
  ["iris/", null, ["iris/model"], null, "iris/V"],
  ["iris/model", null, ["iris/model/model", "iris/model"], null, "iris/model/V"],
  ["out", "V002", ["out/V002/model", "out/model"], "V002", "out/V"],
  ["out/V002/", "V002", ["out/V002/model"], null, "out/V002/V"],
  ["out/V002/model", "V002", ["out/V002/model/model", "out/V002/model"], null, "out/V002/model/V"],
  ["outV002", "V002", ["outV002/V002/model", "outV002/model"], "V002", "outV002/V"],
])("the folder of %j with run %j is looked for in %j", (key, run, direct, below, runsPrefix) => {
  expect(modelFolders(key, run)).toMatchObject({ direct, run: below, runsPrefix });
  expect(modelFolders("out/", run).ofRun("V7")).toBe("out/V7/model");
});

test("runs count by their number, and nothing else that begins like one is a run", () => {
  expect(runsOf(["out/V2/", "out/V010/", "out/V9/", "out/Version/", "out/V1x/", "out/V3"])).toEqual([
    "V010",
    "V9",
    "V2",
  ]);
});
