/**
 * How long a person waits: from `service deploy` of a built package to its first answer, the second import of a known
 * package, and what every process weighs when idle. Run: `node bench/first-answer.ts`; it writes first-answer.txt.
 * The time to the first answer is set beside what the framework's own import takes in the same environment, in the
 * same minute: machines differ, the difference of the two much less.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { Platform, processesOf, until } from "../test/support/platform.ts";
import { createService, entry, importModel, iris, predict } from "../test/support/packages.ts";
import type { ServiceView } from "../test/support/packages.ts";

const ROUNDS = 7;
const BODY = {
  data: { req_data: [{ sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 }] },
};
const spread = (values: readonly number[]): string => {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number) => ((sorted[Math.floor(q * (sorted.length - 1))] ?? 0) / 1000).toFixed(2);
  return `min ${at(0)} s, median ${at(0.5)} s, max ${at(1)} s (n=${values.length})`;
};
const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

const platform = new Platform();
try {
  await platform.start();
  const firstImport = await timed(() => importModel(platform, "iris", "0.0.1", iris()));
  const secondImports: number[] = [];
  let model = "";
  for (let i = 2; i < 2 + ROUNDS; i++) {
    secondImports.push(
      await timed(async () => (model = (await importModel(platform, "iris", `0.0.${i}`, iris())).id)),
    );
  }
  const python = readdirSync(join(platform.dataDir, "environments"))
    .map((key) => join(platform.dataDir, "environments", key, "bin", "python"))
    .find((path) => path.includes("environments/") && !path.includes("/."));
  if (python === undefined) throw new Error("no environment was built");
  const answers: number[] = [];
  const imports: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    imports.push(
      await timed(async () =>
        execFileSync(python, ["-c", "import joblib, sklearn.linear_model"], {
          env: {
            PATH: "/usr/bin:/bin",
            ...Object.fromEntries(
              Object.entries(process.env).filter(([name]) => name.startsWith("OPENBLAS")),
            ),
          },
        }),
      ),
    );
    let id = "";
    answers.push(
      await timed(async () => {
        const created = await createService(platform, `first-${i}`, [entry(model)]);
        id = (created.body as ServiceView).service_id;
        await until("an answer", async () =>
          (await predict(platform, id, BODY)).status === 200 ? true : null,
        );
      }),
    );
    await platform.call("DELETE", `/v1/{project_id}/services/${id}`);
    await until("the service to be gone", async () =>
      (await platform.call("GET", `/v1/{project_id}/services/${id}`)).status === 404 ? true : null,
    );
  }
  const created = await createService(platform, "idle", [entry(model)]);
  const idle = (created.body as ServiceView).service_id;
  await until("an answer", async () => ((await predict(platform, idle, BODY)).status === 200 ? true : null));
  await new Promise((done) => setTimeout(done, 5_000));
  const memory = processesOf(platform.dataDir).map((line) => {
    const [pid = "", ...command] = line.split(" ");
    const rssKb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    const text = command.join(" ");
    const what =
      /start\.js (\S+)/.exec(text)?.[1] ??
      (text.includes("python") ? "python worker (scikit-learn loaded)" : text);
    return `  ${what.replace("up", "supervisor").padEnd(40)} ${(rssKb / 1024).toFixed(0).padStart(5)} MB`;
  });
  const report = `Time to the first answer, and idle memory
Machine: ${cpus().length} cores ${cpus()[0]?.model ?? ""}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}, Node ${process.version}

first import of examples/iris, environment built:  ${(firstImport / 1000).toFixed(2)} s
second import of the same package (goal < 2 s):    ${spread(secondImports)}
POST /services to the first 200 of a prediction:   ${spread(answers)}
the framework's import alone, bare interpreter:    ${spread(imports)}
deploy less import, of the medians (goal < 1 s):   ${(((answers.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0) - (imports.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0)) / 1000).toFixed(2)} s

resident memory, idle for 5 s (goals: control < 150 MB, gateway < 100 MB):
${memory.join("\n")}
`;
  writeFileSync(join(import.meta.dirname, "first-answer.txt"), report);
  process.stdout.write(report);
} finally {
  await platform.stop();
}
