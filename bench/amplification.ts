/**
 * What a caller's bytes cost the platform, against what they cost the caller: `node bench/amplification.ts [filter]`. The
 * gateway, a small instance and a stand-in for control run in this process; the caller is a process of its own that
 * writes prepared bytes and counts answers. CPU of both, for each kind of input, and bytes both ways. Worst first.
 */
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { createWorld, group, service } from "../src/gateway/world.fixture.ts";

interface Job {
  readonly port: number;
  /** Written one after the other, each once its predecessor is answered. */
  readonly texts: readonly string[];
  /** Answers to each text. */
  readonly answers: number;
  readonly repeats: number;
  readonly connections: number;
  /** Bytes per write; 0: all at once. */
  readonly step: number;
}
interface Cost {
  readonly cpuUs: number;
  readonly sent: number;
  readonly got: number;
  readonly rounds: number;
}

const MARK = Buffer.from("HTTP/1.1 ");
const cpuUs = (since?: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(since);
  return user + system;
};

/** The caller: one connection that repeats its texts; opens another when it is closed. */
const repeat = (job: Job, rounds: { left: number; sent: number; got: number }): Promise<void> =>
  new Promise((resolve) => {
    const bytes = job.texts.map((text) => Buffer.from(text, "latin1"));
    const open = (): void => {
      if (rounds.left <= 0) return resolve();
      const socket = connect({ port: job.port, host: "127.0.0.1", noDelay: true });
      let answered = 0;
      let isOver = false;
      const next = (): void => {
        if (rounds.left <= 0) return void socket.destroy();
        rounds.left -= 1;
        answered = 0;
        const text = bytes[rounds.left % bytes.length] ?? MARK;
        rounds.sent += text.length;
        if (job.step === 0) return void socket.write(text);
        let at = 0;
        const piece = (): void => {
          if (at >= text.length || isOver) return;
          socket.write(text.subarray(at, at + job.step));
          at += job.step;
          setImmediate(piece);
        };
        piece();
      };
      socket.on("connect", next);
      socket.on("data", (chunk: Buffer) => {
        rounds.got += chunk.length;
        for (let at = chunk.indexOf(MARK); at >= 0; at = chunk.indexOf(MARK, at + 1)) answered += 1;
        if (answered >= job.answers) next();
      });
      socket.on("error", () => undefined);
      socket.on("close", () => {
        isOver = true;
        open();
      });
    };
    open();
  });

const runCaller = (): void => {
  process.on("message", (job: Job) => {
    const rounds = { left: job.repeats, sent: 0, got: 0 };
    const before = process.cpuUsage();
    void Promise.all(Array.from({ length: job.connections }, () => repeat(job, rounds))).then(() => {
      const cost: Cost = { cpuUs: cpuUs(before), sent: rounds.sent, got: rounds.got, rounds: job.repeats };
      process.send?.(cost);
    });
  });
};

interface Kind {
  readonly name: string;
  readonly texts: readonly string[];
  readonly answers?: number;
  readonly repeats: number;
  readonly connections?: number;
  readonly step?: number;
}

const runGatewaySide = async (): Promise<void> => {
  const world = await createWorld();
  world.control.handler = (_request, response) => response.writeHead(404).end();
  const origin = await world.instance((request, response) => {
    request.resume();
    request.on("end", () => response.end("ok"));
  });
  const one = service([group([origin], { concurrency: 1_000 })]);
  await world.control.acknowledged(world.control.publish({ services: [one] }));
  const url = `/v1/infers/${one.id}`;
  const token = world.token();
  const head = (path = url, lines = "", method = "GET", auth = token): string =>
    `${method} ${path} HTTP/1.1\r\nHost: a\r\nX-Auth-Token: ${auth}\r\n${lines}\r\n`;
  const forged = (): string => `${world.token().slice(0, -86)}${randomBytes(64).toString("base64url")}`;
  const many = (n: number, of: (n: number) => string): string =>
    Array.from({ length: n }, (_, k) => of(k)).join("");
  const random = (): string => randomBytes(6).toString("hex");

  const kinds: readonly Kind[] = [
    { name: "a plain prediction", texts: [head()], repeats: 4_000 },
    { name: "100 predictions in one write", texts: [many(100, () => head())], answers: 100, repeats: 60 },
    { name: "no token", texts: [`GET ${url} HTTP/1.1\r\nHost: a\r\n\r\n`], repeats: 4_000 },
    {
      name: "100 without token in one write",
      texts: [many(100, () => `GET ${url} HTTP/1.1\r\nHost: a\r\n\r\n`)],
      answers: 100,
      repeats: 60,
    },
    { name: "a token that is none", texts: [head(url, "", "GET", "x".repeat(300))], repeats: 4_000 },
    {
      name: "forged tokens, each verified",
      texts: Array.from({ length: 64 }, () => head(url, "", "GET", forged())),
      repeats: 3_000,
    },
    {
      name: "100 forged tokens in one write",
      texts: Array.from({ length: 4 }, () => many(100, () => head(url, "", "GET", forged()))),
      answers: 100,
      repeats: 40,
    },
    {
      name: "100 times an unknown path (control) in one write",
      texts: [many(100, () => "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")],
      answers: 100,
      repeats: 30,
    },
    {
      name: "100 times an unknown service in one write",
      texts: [many(100, () => head("/v1/infers/x"))],
      answers: 100,
      repeats: 60,
    },
    {
      name: "/healthz, 100 in one write",
      texts: [many(100, () => "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")],
      answers: 100,
      repeats: 60,
    },
    { name: "/metrics", texts: ["GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"], repeats: 1_000 },
    {
      name: "/metrics, 100 in one write",
      texts: [many(100, () => "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")],
      answers: 100,
      repeats: 15,
    },
    { name: "malformed, a connection each", texts: ["X\r\n\r\n"], repeats: 2_000 },
    {
      name: "1,000 fields of always new names",
      texts: Array.from({ length: 16 }, () =>
        head(
          url,
          many(1_000, () => `X-${random()}: 1\r\n`),
        ),
      ),
      repeats: 300,
    },
    {
      name: "1,000 fields of the same name",
      texts: [
        head(
          url,
          many(1_000, () => "X-A: 1\r\n"),
        ),
      ],
      repeats: 300,
    },
    {
      name: "Connection with 60,000 bytes of names",
      texts: [head(url, `Connection: ${"a,".repeat(30_000)}b\r\n`)],
      repeats: 200,
    },
    {
      name: "Connection with 5,000 distinct names, 500 fields",
      texts: [
        head(url, `Connection: ${many(5_000, (k) => `a${k},`)}b\r\n${many(500, (k) => `x${k}: 1\r\n`)}`),
      ],
      repeats: 200,
    },
    { name: "a cookie of 100 KB", texts: [head(url, `Cookie: ${"a=1; ".repeat(20_000)}\r\n`)], repeats: 300 },
    {
      name: "X-Request-Id of 100 KB",
      texts: [head(url, `X-Request-Id: ${"a".repeat(100_000)}\r\n`)],
      repeats: 300,
    },
    {
      name: "X-Forwarded-For of 100 KB",
      texts: [head(url, `X-Forwarded-For: ${"1.1.1.1,".repeat(12_500)}\r\n`)],
      repeats: 300,
    },
    {
      name: "500 X-Forwarded-For fields",
      texts: [head(url, "X-Forwarded-For: 1.1.1.1\r\n".repeat(500))],
      repeats: 300,
    },
    { name: "a target of 30 KB of %25", texts: [head(`/${"%25".repeat(10_000)}`)], repeats: 300 },
    { name: "a target of 30 KB of slashes", texts: [head("/".repeat(30_000))], repeats: 300 },
    { name: "a target of 30 KB of /.a", texts: [head(`${url}${"/.a".repeat(10_000)}`)], repeats: 300 },
    {
      name: "values of 100 KB of spaces",
      texts: [head(url, `X-A: 1${" ".repeat(100_000)}2\r\n`)],
      repeats: 300,
    },
    {
      name: "a value that ends in 100 KB of spaces",
      texts: [head(url, `X-A: 1${" ".repeat(100_000)}\r\n`)],
      repeats: 300,
    },
    {
      name: "100,000 bytes in chunks of one",
      texts: [
        head(url, "Transfer-Encoding: chunked\r\n", "POST") + "1\r\na\r\n".repeat(100_000) + "0\r\n\r\n",
      ],
      repeats: 10,
      connections: 1,
    },
    {
      name: "a body of 100,000 bytes",
      texts: [head(url, "Content-Length: 100000\r\n", "POST") + "a".repeat(100_000)],
      repeats: 200,
      connections: 1,
    },
    {
      name: "1,000 chunks with extensions of 1 KB",
      texts: [
        head(url, "Transfer-Encoding: chunked\r\n", "POST") +
          `1;${"a".repeat(1_000)}\r\na\r\n`.repeat(1_000) +
          "0\r\n\r\n",
      ],
      repeats: 10,
      connections: 1,
    },
    {
      name: "1,000 small trailers",
      texts: [
        head(url, "Transfer-Encoding: chunked\r\n", "POST") +
          `1\r\na\r\n0\r\n${"X-A: 1\r\n".repeat(1_000)}\r\n`,
      ],
      repeats: 200,
    },
    {
      name: "a header of 20 KB, a byte per write",
      texts: [head(url, `X-A: ${"a".repeat(20_000)}\r\n`)],
      repeats: 2,
      connections: 1,
      step: 1,
    },
    {
      name: "a header of 100 KB, 10 bytes per write",
      texts: [head(url, `X-A: ${"a".repeat(100_000)}\r\n`)],
      repeats: 2,
      connections: 1,
      step: 10,
    },
    {
      name: "a header of 100 KB in 10,000 fields, 10 bytes per write",
      texts: [head(url, "X-A: 12\r\n".repeat(10_000))],
      repeats: 2,
      connections: 1,
      step: 10,
    },
    {
      name: "a body of 20 KB, a byte per write",
      texts: [head(url, "Content-Length: 20000\r\n", "POST") + "a".repeat(20_000)],
      repeats: 2,
      connections: 1,
      step: 1,
    },
    { name: "20,000 empty lines before a request", texts: ["\r\n".repeat(20_000) + head()], repeats: 200 },
  ];

  const caller = fork(import.meta.filename, ["caller"]);
  const ask = (job: Job): Promise<Cost> =>
    new Promise((resolve) => {
      caller.once("message", (cost: Cost) => resolve(cost));
      caller.send(job);
    });
  const filter = process.argv[2] ?? "";
  const rows: { ratio: number; line: string }[] = [];
  for (const kind of kinds.filter(({ name }) => name.includes(filter))) {
    const { texts, answers = 1, repeats, connections = 8, step = 0 } = kind;
    const job = { port: world.port, texts, answers, connections, step };
    process.stderr.write(`${kind.name}\n`);
    await ask({ ...job, repeats: Math.ceil(repeats / 5) });
    const before = process.cpuUsage();
    const cost = await ask({ ...job, repeats });
    const platform = cpuUs(before);
    world.records.length = 0;
    const ratio = platform / Math.max(1, cost.cpuUs);
    const each = (us: number): string => (us / (cost.rounds * answers)).toFixed(1);
    const line = [
      kind.name.padEnd(58),
      (cost.sent / (cost.rounds * answers)).toFixed(0).padStart(7),
      (cost.got / (cost.rounds * answers)).toFixed(0).padStart(7),
      each(platform).padStart(9),
      each(cost.cpuUs).padStart(9),
      ratio.toFixed(1).padStart(7),
      ((platform * 1000) / cost.sent).toFixed(0).padStart(8),
    ].join(" ");
    rows.push({ ratio, line });
  }
  console.log(`Node ${process.version}; per request; CPU in µs of user and system time`);
  console.log(`${"".padEnd(58)} bytes in     out  platform    caller   ratio   ns/byte`);
  for (const { line } of rows.toSorted((a, b) => b.ratio - a.ratio)) console.log(line);
  caller.disconnect();
  await world.close();
};

if (process.argv[2] === "caller") runCaller();
else await runGatewaySide();
