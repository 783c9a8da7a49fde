/** A runtime gets what it names where that can be had, the nearest with a set of the engine elsewhere, and never less. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { AVAILABLE_ENGINES, engineSet } from "./engines.ts";
import { chooseRuntime, runtimeNamed, runtimesOf, runtimesOfEngine } from "./runtimes.ts";
import type { EngineName } from "./engines.ts";

const LINUX = { mac: false };
const ALL = [6, 7, 8, 9, 10, 11, 12, 13];
const choose = (engine: EngineName, name: string | null, minors: readonly number[], preferred = 11) =>
  chooseRuntime(engine, name === null ? null : runtimeNamed(engine, name), minors, preferred, LINUX);

test.each([
  ["TensorFlow", "python3.6", 6, "tensorflow==1.8.0"],
  ["TensorFlow", "tf1.13-python3.7-cpu", 7, "tensorflow==1.13.1"],
  ["TensorFlow", "tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64", 7, "tensorflow-cpu==2.1.0"],
  ["PyTorch", "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64", 7, "torch==1.8.0"],
  ["Scikit_Learn", "python3.6", 6, "scikit-learn==0.18.1"],
  ["XGBoost", "python3.6", 6, "xgboost==0.80"],
  ["Scikit_Learn", "python3.12", 12, "scikit-learn==1.3.2"],
] as const)("%s %s is exactly that where its Python is here", (engine, name, minor, first) => {
  const chosen = choose(engine, name, ALL);
  expect(chosen).toMatchObject({ minor, exact: true, set: { known: true } });
  expect(chosen?.set.requirements[0]).toBe(first);
});

test("elsewhere the nearest stands in, the younger one at the same distance", () => {
  expect(choose("TensorFlow", "tf1.13-python3.7-cpu", [9, 11])).toMatchObject({ minor: 9, exact: false });
  expect(choose("Scikit_Learn", "python3.9", [8, 10])).toMatchObject({ minor: 10, exact: false });
  expect(choose("MXNet", "python3.6", [11, 13])).toMatchObject({ minor: 11, exact: false });
});

test("a neighbour with the engine's very release goes before another release", () => {
  expect(choose("TensorFlow", "tf1.13-python3.7-cpu", [6, 8])).toMatchObject({
    minor: 6,
    exact: false,
    set: { requirements: expect.arrayContaining(["tensorflow==1.13.1"]) },
  });
});

test("Python 2 gets the packages of its image on 3.6, the nearest elsewhere; no name gets the machine's own", () => {
  const chosen = choose("Scikit_Learn", "python2.7", ALL);
  expect(chosen).toMatchObject({ minor: 6, exact: false });
  expect(chosen?.set.requirements[0]).toBe("scikit-learn==0.18.1");
  expect(choose("Scikit_Learn", "python2.7", [11, 13])).toMatchObject({ minor: 11, exact: false });
  expect(choose("Scikit_Learn", null, ALL, 12)).toMatchObject({ minor: 12, exact: true });
});

test("an engine without any release for the interpreters here gets none", () => {
  expect(choose("MXNet", "python3.6", [13])).toBeNull();
  expect(choose("TensorFlow", null, [])).toBeNull();
  expect(engineSet("Scikit_Learn", 15, LINUX)).toMatchObject({
    known: false,
    requirements: ["scikit-learn", "numpy", "pandas", "joblib"],
  });
});

test("names are unique, and whatever is chosen is here and has a set", () => {
  for (const engine of AVAILABLE_ENGINES)
    expect(new Set(runtimesOf(engine)).size).toBe(runtimesOf(engine).length);
  expect(runtimesOf("Image")).toEqual([]);
  const minors = fc.uniqueArray(fc.integer({ min: 6, max: 16 }), { maxLength: 6 });
  fc.assert(
    fc.property(
      fc.constantFrom(...AVAILABLE_ENGINES),
      fc.nat(),
      minors,
      fc.integer({ min: 6, max: 16 }),
      (engine, at, here, own) => {
        const names = runtimesOfEngine(engine);
        const runtime = names[at % names.length] ?? null;
        const chosen = chooseRuntime(engine, runtime, here, own, LINUX);
        if (chosen === null)
          expect(here.filter((minor) => engineSet(engine, minor, LINUX) !== null)).toEqual([]);
        else {
          expect(here).toContain(chosen.minor);
          expect(chosen.set.requirements.length).toBeGreaterThan(0);
          if (chosen.exact && runtime?.python != null) expect(runtime.python).toBe(`3.${chosen.minor}`);
        }
      },
    ),
  );
});
