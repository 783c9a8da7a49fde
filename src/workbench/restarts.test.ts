import { expect, test } from "vitest";
import { Restarts } from "./restarts.ts";

test("pauses grow while instances end soon, and begin anew after one that served well or a change", () => {
  const restarts = new Restarts();
  const soon = (times: number) => Array.from({ length: times }, () => restarts.pauseAfter(500));
  expect(soon(9)).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  expect([restarts.pauseAfter(60_000), restarts.pauseAfter(59_999)]).toEqual([0, 1000]);
  restarts.forget();
  expect(soon(2)).toEqual([0, 1000]);
});
