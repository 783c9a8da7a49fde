import { defineConfig } from "vitest/config";

// Three projects: `unit` is what every commit runs (no network, no Python packages, seconds); `system` starts real processes,
// databases and Python environments, with the light engines (scikit-learn, XGBoost, Caffe); `engines` does so with the heavy
// ones (TensorFlow, PyTorch, Spark, MXNet, MindSpore), gigabytes of downloads that `npm test` leaves out. Two files at a time:
// one alone leaves half of two processors idle, waiting for downloads, deadlines and processes (npm test took 26 minutes so
// and takes 17, the engines 17 and 11).
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/*.test.ts"],
          exclude: ["src/**/*.system.test.ts"],
          pool: "forks",
          maxWorkers: 2,
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "system",
          include: [
            "src/**/*.system.test.ts",
            "test/{e2e,faults,fuzz,stories}/**/*.test.ts",
            "test/engines/light/**/*.test.ts",
          ],
          pool: "forks",
          maxWorkers: 2,
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: "engines",
          include: ["test/engines/*.test.ts"],
          pool: "forks",
          maxWorkers: 2,
          testTimeout: 600_000,
          hookTimeout: 1_800_000,
        },
      },
    ],
  },
});
