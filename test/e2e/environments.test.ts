/** Dependencies of config.json through the whole platform: built, replaced, refused, shared, given back. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wheel as wheelOf } from "../support/archives.ts";
import { PackageIndex } from "../support/package-index.ts";
import { deploy, entry, importModel, predict, scripted } from "../support/packages.ts";
import type { Files } from "../support/packages.ts";
import { Platform, REPO, until } from "../support/platform.ts";

const scratch = mkdtempSync(join(tmpdir(), "modelport-environments-"));
/** What is downloaded once serves both platforms of this file. */
const CACHE = { UV_CACHE_DIR: join(scratch, "uv-cache") };
const platform = new Platform(CACHE);
beforeAll(() => platform.start());
afterAll(async () => {
  await platform.stop();
  rmSync(scratch, { recursive: true, force: true });
});

interface Package {
  readonly package_name: string;
  readonly package_version?: string;
  readonly restraint?: "EXACT" | "ATLEAST" | "ATMOST";
}

/** A package that answers with the value of a Python expression, in an environment with the given dependencies. */
const asking = (expression: string, packages: readonly Package[], more: Files = {}): Files => {
  const files = scripted(
    `
def _preprocess(self, data):
    return json.loads(data)
def _inference(self, data):
    return [${expression}]
def _postprocess(self, data):
    return data
`,
    more,
  );
  const config = JSON.parse(String(files["config.json"])) as object;
  return {
    ...files,
    "config.json": JSON.stringify({ ...config, dependencies: [{ installer: "pip", packages }] }),
  };
};

const answerOf = async (model: string, name: string): Promise<unknown> => {
  const service = await deploy(platform, name, [entry(model)]);
  const answer = await predict(platform, service, {});
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  await platform.call("DELETE", `/v1/{project_id}/services/${service}`);
  await until("the service to be gone", async () =>
    (await platform.call("GET", `/v1/{project_id}/services/${service}`)).status === 404 ? true : null,
  );
  return (answer.body as { data: { resp_data: [unknown] } }).data.resp_data[0];
};

type Events = readonly { event_type: string; event_info: string }[];
const infos = (events: Events): string => events.map((e) => e.event_info).join("\n");
const environments = (of = platform): readonly string[] =>
  readdirSync(join(of.dataDir, "environments"))
    .filter((name) => /^[0-9a-f]{64}$/.test(name))
    .sort();
/** What builds leave while they run: nothing when none runs. */
const unfinished = (of = platform): readonly string[] =>
  readdirSync(join(of.dataDir, "environments", ".scratch"));

/** A wheel that no index has, as bytes. */
const wheel = (): Uint8Array => {
  const path = join(scratch, WHEEL);
  const write = `
import sys, zipfile
info = "modelport_greeting-1.2.dist-info/"
files = {
    "modelport_greeting.py": "def greet():\\n    return 'hello from the wheel'\\n",
    info + "METADATA": "Metadata-Version: 2.1\\nName: modelport-greeting\\nVersion: 1.2\\n",
    info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}
files[info + "RECORD"] = "".join(f"{name},,\\n" for name in [*files, info + "RECORD"])
with zipfile.ZipFile(sys.argv[1], "w") as out:
    for name, text in files.items():
        # A fixed time: the same wheel must be the same bytes.
        out.writestr(zipfile.ZipInfo(name), text)
`;
  execFileSync("python3", ["-c", write, path]);
  return new Uint8Array(readFileSync(path));
};

const OLD_NUMPY: Package = { package_name: "numpy", package_version: "1.15.0", restraint: "EXACT" };

const WHEEL = "modelport_greeting-1.2-py3-none-any.whl";
/** Versions with one set of dependencies: a wheel that they bring along. */
const greeting = (version: string) =>
  importModel(
    platform,
    "greeting",
    version,
    asking(
      `[${JSON.stringify(version)}, __import__('modelport_greeting').greet()]`,
      [{ package_name: WHEEL }],
      {
        [WHEEL]: wheel(),
      },
    ),
  );
let first: Awaited<ReturnType<typeof importModel>>;
/** Its environment. */
let own = "";

describe("dependencies", () => {
  it("may be wheels of the package directory", async () => {
    first = await greeting("1.0.0");
    expect(first.status, infos(first.events)).toBe("published");
    expect(environments()).toHaveLength(1);
    own = environments()[0] ?? "";
    expect(await answerOf(first.id, "greeting")).toEqual(["1.0.0", "hello from the wheel"]);
  });

  it("pinned to a release without a build are replaced by the nearest that works, with a warning", async () => {
    const model = await importModel(
      platform,
      "pinned",
      "1.0.0",
      asking("__import__('numpy').__version__", [OLD_NUMPY]),
    );
    expect(model.status, infos(model.events)).toBe("published");
    const warnings = model.events.filter((e) => e.event_type === "warning").map((e) => e.event_info);
    const version = await answerOf(model.id, "pinned");
    expect(warnings.join("\n")).toMatch(/numpy==1\.15\.0 was replaced by numpy==\d/);
    expect(warnings.join("\n")).toContain(`numpy==${String(version)}`);
    // The model was really loaded with it: downloads are part of the live log.
    expect(infos(model.events)).toMatch(/The environment was created\. \(\d/);
  });

  it("that do not exist are refused by name, with the reason, and leave nothing", async () => {
    const before = environments();
    const model = await importModel(
      platform,
      "missing",
      "1.0.0",
      asking("1", [
        { package_name: "modelport-no-such-package", package_version: "9.9.9", restraint: "EXACT" },
      ]),
    );
    expect(model.status).toBe("failed");
    expect(infos(model.events)).toMatch(/modelport-no-such-package/);
    expect(infos(model.events)).toMatch(/the package index has no package of this name/);
    expect(model.events.at(-1)?.event_info).toMatch(
      /^Failed to import the model\. Error: .*modelport-no-such-package/s,
    );
    expect(environments()).toEqual(before);
    expect(unfinished()).toEqual([]);
  });

  it("pinned to a release without a build are refused where the platform is strict", async () => {
    const strict = await new Platform({ ...CACHE, MODELPORT_STRICT_DEPENDENCIES: "true" }).start();
    try {
      const model = await importModel(strict, "pinned", "1.0.0", asking("1", [OLD_NUMPY]));
      expect(model.status).toBe("failed");
      expect(infos(model.events)).toMatch(/numpy==1\.15\.0/);
      expect(model.events.filter((e) => /was replaced/.test(e.event_info))).toEqual([]);
      expect(environments(strict)).toEqual([]);
    } finally {
      await strict.stop();
    }
  });
});

describe("a package index that fails", () => {
  it("is asked again, which the events tell, and ends the import in a sentence that names the requirement", async () => {
    const index = await PackageIndex.start();
    for (const name of ["scikit-learn", "numpy", "pandas", "joblib"])
      index.add(wheelOf({ name, version: name === "scikit-learn" ? "1.2.2" : "1.0" }));
    for (const version of ["1.3.2", "1.5.2"]) index.add(wheelOf({ name: "scikit-learn", version }));
    index.add(wheelOf({ name: "big", version: "1.0", ballast: 3_000_000 }));
    index.misbehave(/big.*\.whl$/, { kind: "cut", share: 0.5 });
    const other = await new Platform({
      ...CACHE,
      UV_DEFAULT_INDEX: index.url,
      PIP_FIND_LINKS: "",
      UV_HTTP_RETRIES: "0",
    }).start();
    try {
      const model = await importModel(other, "cut", "1.0.0", asking("1", [{ package_name: "big" }]));
      expect(model.status).toBe("failed");
      const told = infos(model.events);
      expect(told).toMatch(/downloading 3\.0 MB at most \(big 3\.0 MB/);
      expect(told).toContain("waiting 10 s before asking again (2 of 2): The package index broke off in");
      expect(model.events.at(-1)?.event_info).toContain(
        "Error: The package index broke off in the middle of big: try again later, or set PIP_INDEX_URL to another.",
      );
      expect(environments(other)).toEqual([]);
      expect(unfinished(other)).toEqual([]);
    } finally {
      await other.stop();
      await index.close();
    }
  });
});

describe("an environment", () => {
  it("is shared by versions with the same set, and given back after the last of them", async () => {
    const others = environments().filter((key) => key !== own);
    expect(others).not.toEqual([]);
    const second = await greeting("1.0.1");
    expect(second.status, infos(second.events)).toBe("published");
    expect(infos(second.events)).toContain("An existing environment image is used.");
    expect(infos(second.events)).not.toMatch(/Environment: |The environment was created/);
    expect(environments()).toEqual([...others, own].sort());
    expect(await answerOf(second.id, "greeting")).toEqual(["1.0.1", "hello from the wheel"]);

    const restarted = async (): Promise<void> => {
      const before = platform.state.roles.control;
      if (before === undefined) throw new Error("no control");
      process.kill(before.pid, "SIGKILL");
      await until("another control", () => {
        const now = platform.state.roles.control;
        return now !== undefined && now.pid !== before.pid ? true : null;
      });
      await until("the API", async () =>
        (await platform.call("GET", "/v1/{project_id}/models?limit=1")).status === 200 ? true : null,
      );
    };
    const removed = async (id: string): Promise<void> => {
      const answer = await platform.call("DELETE", `/v1/{project_id}/models/${id}`);
      expect(answer.body).toMatchObject({ delete_success_list: [id] });
    };
    // Retention runs at control's start, then every hour; what was handed out within the last hour it leaves alone.
    await removed(first.id);
    const missing = (await platform.call("GET", "/v1/{project_id}/models?model_name=missing")).body as {
      models: { model_id: string }[];
    };
    await removed(missing.models[0]?.model_id ?? "");
    await restarted();
    expect(environments()).toContain(own);
    await removed(second.id);
    await restarted();
    await until("the environment to be gone", () => (environments().includes(own) ? null : true));
    // Those of the other versions stay.
    expect(environments()).toEqual(others);
    await until("its files to be gone", () => (unfinished().length === 0 ? true : null));
  });
});

describe("examples/iris-xgboost", () => {
  it("is imported, deployed and answers", async () => {
    const dir = join(REPO, "examples", "iris-xgboost");
    const files = Object.fromEntries(
      readdirSync(join(dir, "model")).map((name) => [
        name,
        new Uint8Array(readFileSync(join(dir, "model", name))),
      ]),
    );
    const model = await importModel(platform, "iris-xgboost", "1.0.0", files, { model_type: "XGBoost" });
    expect(model.status, infos(model.events)).toBe("published");
    const service = await deploy(platform, "iris-xgboost", [entry(model.id)]);
    const request: unknown = JSON.parse(readFileSync(join(dir, "request.json"), "utf8"));
    const answer = await predict(platform, service, request);
    expect(answer).toMatchObject({
      status: 200,
      body: { data: { resp_data: [{ predictresult: 0 }, { predictresult: 1 }, { predictresult: 2 }] } },
    });
  });
});
