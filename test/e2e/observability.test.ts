/**
 * A running platform seen from outside: scraped by a real Prometheus with the configuration the docs show, its metrics
 * held to promtool's rules and to the docs, every query of the Grafana dashboard run, and one prediction followed as a
 * trace from the caller to the worker's steps.
 */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCollector } from "../support/collector.ts";
import type { Collector } from "../support/collector.ts";
import { deploy, entry, eventsOf, importModel, predict, scripted, settled } from "../support/packages.ts";
import { Platform, REPO, until } from "../support/platform.ts";

const TOKEN = "a-token-for-prometheus";
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";
const STEPS = ["preprocess", "inference", "postprocess"];

const model = scripted(`
def _preprocess(self, data):
    return json.loads(data)
def _inference(self, data):
    if data.get("do") == "raise":
        raise ValueError("asked to raise")
    return [data]
def _postprocess(self, data):
    return data
`);

let collector: Collector;
let platform: Platform;
let dir = "";
let prometheus: ChildProcess | null = null;
let origin = "";
let modelId = "";
let id = "";

const metrics = async (token: string | null): Promise<{ status: number; text: string }> => {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const answer = await fetch(`${platform.state.url}/metrics`, { headers });
  return { status: answer.status, text: await answer.text() };
};

const freePort = async (): Promise<number> => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
};

/** The docs' scrape configuration, with this test's address, token and haste. */
const scrapeConfig = (): string => {
  const docs = readFileSync(join(REPO, "docs/observability.md"), "utf8");
  const [, yaml = ""] = /```yaml\n(scrape_configs:[^`]+)```/.exec(docs) ?? [];
  const tokenFile = join(dir, "token");
  writeFileSync(tokenFile, TOKEN);
  const config = yaml
    .replace("15s", "500ms")
    .replace("/etc/prometheus/modelport-token", tokenFile)
    .replace("127.0.0.1:8080", new URL(platform.state.url).host);
  expect(config).toContain(tokenFile);
  expect(config).toContain(new URL(platform.state.url).host);
  return config;
};

const ask = async (
  path: string,
  query: Record<string, string> = {},
): Promise<{ status: string; data: unknown }> =>
  (await (await fetch(`${origin}${path}?${new URLSearchParams(query).toString()}`)).json()) as {
    status: string;
    data: unknown;
  };

const seriesOf = async (query: string): Promise<readonly { metric: Record<string, string> }[]> => {
  const { status, data } = await ask("/api/v1/query", { query });
  expect(status, query).toBe("success");
  return (data as { result: readonly { metric: Record<string, string> }[] }).result;
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "modelport-prometheus-"));
  collector = await startCollector();
  platform = new Platform({
    MODELPORT_METRICS_TOKEN: TOKEN,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    OTEL_BSP_SCHEDULE_DELAY: "100",
    // Only requests whose caller asks for it are traced.
    OTEL_TRACES_SAMPLER: "parentbased_always_off",
  });
  await platform.start();
  const imported = await importModel(platform, "seen", "1.0.0", model);
  expect(imported.status, JSON.stringify(imported.events)).toBe("published");
  modelId = imported.id;
  id = await deploy(platform, "seen", [entry(modelId)]);
  writeFileSync(join(dir, "prometheus.yml"), scrapeConfig());
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  prometheus = spawn(
    "prometheus",
    [
      `--config.file=${join(dir, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(dir, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
});

afterAll(async () => {
  if (prometheus !== null && prometheus.exitCode === null) {
    prometheus.kill("SIGKILL");
    await once(prometheus, "exit");
  }
  await platform.stop();
  await collector.close();
  rmSync(dir, { recursive: true, force: true });
});

describe("/metrics", () => {
  it("is for whoever has the token only", async () => {
    expect((await metrics(null)).status).toBe(401);
    expect((await metrics("another-token-altogether")).status).toBe(401);
    expect((await metrics(TOKEN)).status).toBe(200);
  });

  it("follows Prometheus' rules for names and types", async () => {
    await predict(platform, id, {});
    const { text } = await metrics(TOKEN);
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
      input: text,
      encoding: "utf8",
    });
    expect(`${stdout}${stderr}`).toBe("");
    expect(status).toBe(0);
  });

  it("tells exactly what docs/observability.md lists", async () => {
    const { text } = await metrics(TOKEN);
    const help = new Map([...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name, words]) => [name, words]));
    const told = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(
      ([, name, type]) => `| \`${name ?? ""}\` | ${type ?? ""} | ${help.get(name) ?? ""} |`,
    );
    const docs = readFileSync(join(REPO, "docs/observability.md"), "utf8");
    const listed = [...docs.matchAll(/^\| `modelport_.*$/gm)].map(([line]) => line);
    expect(listed.toSorted()).toEqual(told.toSorted());
  });

  it("counts the worker's steps and what became of predictions", async () => {
    await predict(platform, id, {});
    expect((await predict(platform, id, { do: "raise" })).status).toBe(500);
    const failed = new RegExp(
      `^modelport_instance_predictions_total\\{service="${id}",version="1.0.0",instance_id="[^"]+",outcome="failed"\\} [1-9]`,
      "m",
    );
    const text = await until("the failure to be counted", async () => {
      const told = (await metrics(TOKEN)).text;
      return failed.test(told) ? told : null;
    });
    for (const step of STEPS) {
      expect(text).toMatch(new RegExp(`step_duration_seconds_count\\{[^}]*step="${step}"\\} [1-9]`));
    }
  });
});

describe("a Prometheus with the docs' configuration", () => {
  it("answers every query of the dashboard, each with data", async () => {
    await until("the target to be up", async () => (await seriesOf('up{job="modelport"} == 1')).length === 1);
    // Rates need two scrapes of a series.
    const scrapes = 'min(count_over_time(modelport_gateway_requests_total{owner="upstream"}[1m])) >= 2';
    await predict(platform, id, { do: "raise" });
    await until("a failure to be scraped twice", async () => (await seriesOf(scrapes)).length === 1);
    const steps = "min(count_over_time(modelport_instance_step_duration_seconds_count[1m])) >= 2";
    await until("a step to be scraped twice", async () => (await seriesOf(steps)).length === 1);
    // Quantiles are of what happened between two scrapes.
    const isFresh = "sum(rate(modelport_instance_step_duration_seconds_count[30s])) > 0";
    await until("traffic between two scrapes", async () => {
      await predict(platform, id, {});
      return (await seriesOf(isFresh)).length === 1;
    });
    const dashboard = readFileSync(join(REPO, "deploy/grafana/modelport.json"), "utf8");
    const { panels, templating } = JSON.parse(dashboard) as {
      panels: readonly { title: string; targets?: readonly { expr: string }[] }[];
      templating: { list: readonly { name: string; regex?: string; definition?: string }[] };
    };
    const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
    expect(queries.length).toBeGreaterThan(25);
    for (const { title, expr } of queries) {
      const query = expr.replaceAll("$service", ".*").replaceAll("$__rate_interval", "30s");
      expect(query, title).not.toContain("$");
      expect((await seriesOf(query)).length, `${title}: ${query}`).toBeGreaterThan(0);
    }
    const variable = templating.list.find(({ name }) => name === "service");
    expect(variable?.definition).toBe("query_result(modelport_gateway_service_info)");
    const [info] = await seriesOf("modelport_gateway_service_info");
    // As Grafana writes it: labels in the order of their names.
    const written = `modelport_gateway_service_info{${Object.entries(info?.metric ?? {})
      .filter(([name]) => name !== "__name__")
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}="${value}"`)
      .join(",")}} 1`;
    const groups = new RegExp((variable?.regex ?? "").slice(1, -1)).exec(written)?.groups;
    expect({ ...groups }).toEqual({ text: "seen", value: id });
  });

  it("finds every metric that the dashboard's queries name in /metrics", async () => {
    const { text } = await metrics(TOKEN);
    const dashboard = readFileSync(join(REPO, "deploy/grafana/modelport.json"), "utf8");
    for (const name of new Set(dashboard.match(/modelport_\w+/g))) expect(text, name).toContain(name);
  });
});

describe("the events of a service", () => {
  it("say once what its worker decided about joining predictions and on what evidence, also after control died", async () => {
    const decided = async (): Promise<readonly string[]> => {
      const infos = (await eventsOf(platform, "services", id)).map((event) => event.event_info);
      return infos.filter((info) => info.startsWith("Batching of "));
    };
    await until("a decision", async () => {
      await Promise.all(Array.from({ length: 6 }, (_, n) => predict(platform, id, { n })));
      return (await decided()).length > 0;
    });
    const before = await decided();
    expect(before).toEqual([
      expect.stringMatching(/^Batching of \[seen 1\.0\.0\] is (on|off)\. Instance \S+-1: requests .*\S$/),
    ]);
    const { stdout } = await platform.cli("service", "events", id);
    expect(stdout).toContain("Batching of [seen 1.0.0]");
    const control = platform.state.roles.control;
    if (control === undefined) throw new Error("no control");
    process.kill(control.pid, "SIGKILL");
    // Another instance of the same start configuration: once it is there, the new control has looked at all of them.
    await until("another control", async () => {
      const scale = { config: [entry(modelId, { instance_count: 2 })] };
      return (await platform.call("PUT", `/v1/{project_id}/services/${id}`, scale)).status === 200;
    });
    await settled(platform, id, ["running"]);
    expect(platform.state.roles.control?.pid).not.toBe(control.pid);
    expect(await decided()).toEqual(before);
  });
});

describe("a trace", () => {
  it("leads from the caller through gateway and instance to the worker's three steps", async () => {
    const answer = await platform.call(
      "POST",
      `/v1/infers/${id}`,
      {},
      {
        traceparent: `00-${TRACE}-${PARENT}-01`,
        tracestate: "vendor=1",
      },
    );
    expect(answer.status).toBe(200);
    const timing = answer.headers.get("server-timing") ?? "";
    for (const part of [...STEPS, "auth", "queue", "upstream", "total"])
      expect(timing).toContain(`${part};dur=`);
    await until("all nine spans", () => collector.spans.length >= 9);
    expect(new Set(collector.spans.map((span) => span.traceId))).toEqual(new Set([TRACE]));
    const named = (service: string, name: string) => {
      const found = collector.spans.filter((span) => span.service === service && span.name === name);
      expect(found, `${service} ${name}`).toHaveLength(1);
      const [span] = found;
      if (span === undefined) throw new Error(name);
      return span;
    };
    const gateway = named("modelport-gateway", "prediction");
    const instance = named("modelport-instance", "predict");
    expect(gateway.parentSpanId).toBe(PARENT);
    expect(instance.parentSpanId).toBe(gateway.spanId);
    for (const phase of ["auth", "queue", "upstream"]) {
      expect(named("modelport-gateway", phase).parentSpanId).toBe(gateway.spanId);
    }
    expect(instance.attributes).toMatchObject({ "modelport.service": id, "modelport.version": "1.0.0" });
    expect(instance.attributes["modelport.instance"]).toBe(gateway.attributes["modelport.instance"]);
    const steps = STEPS.map((step) => named("modelport-instance", step));
    let at = instance.startNs;
    for (const step of [named("modelport-instance", "queue"), ...steps]) {
      expect(step.parentSpanId).toBe(instance.spanId);
      // In order, one after the other, within the instance's span. Times are rounded to a microsecond on their way.
      expect(step.startNs >= at - 1_000n, step.name).toBe(true);
      expect(step.endNs >= step.startNs && step.endNs <= instance.endNs + 1_000n, step.name).toBe(true);
      at = step.endNs;
    }
    // Records are written in batches, a moment after the answer.
    const records = await until("the access record", () =>
      readFileSync(join(platform.dataDir, "logs/platform/access.log"), "utf8").match(new RegExp(TRACE, "g")),
    );
    expect(records).toHaveLength(1);
  });

  it("is not made when nobody asks for one", async () => {
    const before = collector.spans.length;
    await predict(platform, id, {});
    // A traced request behind it: what was before it has arrived by then.
    await platform.call("POST", `/v1/infers/${id}`, {}, { traceparent: `00-${"a".repeat(32)}-${PARENT}-01` });
    await until("the second trace", () => collector.spans.length >= before + 9);
    expect(new Set(collector.spans.slice(before).map((span) => span.traceId))).toEqual(
      new Set(["a".repeat(32)]),
    );
  });
});
