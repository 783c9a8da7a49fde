/**
 * A package index on loopback (PEP 503 pages, PEP 691 where they are asked for, PEP 658 metadata), as a user's own index
 * would be, that misbehaves as it is told: late, silent in the middle of a file, cut off, out of order.
 */
import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Artifact } from "./archives.ts";

/** What becomes of a request instead of its answer. */
export type Fault =
  | { readonly kind: "status"; readonly status: number }
  /** The answer begins this much later. */
  | { readonly kind: "late"; readonly ms: number }
  /** After this share of the body nothing more comes, and the connection stays. */
  | { readonly kind: "stall"; readonly share: number }
  /** The body drips, one byte at a time. */
  | { readonly kind: "drip"; readonly everyMs: number }
  /** After this share of the body the connection is gone. */
  | { readonly kind: "cut"; readonly share: number };

interface Listed extends Artifact {
  readonly sha256: string;
  readonly yanked: string | null;
}

const JSON_TYPE = "application/vnd.pypi.simple.v1+json";
const normalise = (name: string): string => name.toLowerCase().replaceAll(/[-_.]+/g, "-");

export class PackageIndex {
  readonly #files: Listed[] = [];
  readonly #faults: { readonly path: RegExp; readonly fault: Fault; left: number }[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #server: Server;
  /** In front of every path: no address is ever another index's, whatever a client's cache remembers. */
  readonly #prefix = `/${randomUUID().slice(0, 8)}`;
  /** Paths asked for, in order. */
  readonly asked: string[] = [];

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<PackageIndex> {
    const index = new PackageIndex();
    await new Promise<void>((resolve) => index.#server.listen(0, "127.0.0.1", resolve));
    return index;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#prefix}/simple/`;
  }

  /** `yanked`: why it was taken back. `sha256`: what the page says, where that is not true. */
  add(artifact: Artifact, more: { readonly yanked?: string; readonly sha256?: string } = {}): void {
    const sha256 = more.sha256 ?? createHash("sha256").update(artifact.bytes).digest("hex");
    this.#files.push({ ...artifact, sha256, yanked: more.yanked ?? null });
  }

  /** Requests whose path matches meet the fault, the first `times` of them. */
  misbehave(path: RegExp, fault: Fault, times = Number.POSITIVE_INFINITY): void {
    this.#faults.push({ path, fault, left: times });
  }

  behave(): void {
    this.#faults.length = 0;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(request.url ?? "/").replace(this.#prefix, "");
    this.asked.push(path);
    const found = this.#find(path, request);
    const meets = this.#faults.find((one) => one.left > 0 && one.path.test(path));
    if (meets === undefined) return send(response, found);
    meets.left -= 1;
    this.#meet(meets.fault, response, found);
  }

  #find(path: string, request: IncomingMessage): { status: number; type: string; body: Buffer } {
    const project = /^\/simple\/([^/]+)\/$/.exec(path)?.[1];
    if (project !== undefined) {
      const files = this.#files.filter((one) => normalise(one.project) === normalise(project));
      if (files.length === 0) return NOTHING;
      return (request.headers.accept ?? "").includes(JSON_TYPE)
        ? { status: 200, type: JSON_TYPE, body: Buffer.from(JSON.stringify(asJson(project, files))) }
        : { status: 200, type: "text/html", body: Buffer.from(asHtml(files)) };
    }
    const name = /^\/files\/(.+?)(\.metadata)?$/.exec(path);
    const file = this.#files.find((one) => one.file === name?.[1]);
    const body = name?.[2] === undefined ? file?.bytes : Buffer.from(file?.metadata ?? "");
    return body === undefined ? NOTHING : { status: 200, type: "application/octet-stream", body };
  }

  #meet(fault: Fault, response: ServerResponse, found: { status: number; type: string; body: Buffer }): void {
    if (fault.kind === "status")
      return send(response, { status: fault.status, type: "text/plain", body: Buffer.from("no\n") });
    if (fault.kind === "late") return this.#later(fault.ms, () => send(response, found));
    head(response, found);
    response.flushHeaders();
    if (fault.kind === "drip") {
      let at = 0;
      const drip = (): void => {
        if (response.destroyed) return;
        response.write(found.body.subarray(at, at + 1));
        at += 1;
        if (at < found.body.length) this.#later(fault.everyMs, drip);
        else response.end();
      };
      return drip();
    }
    response.write(found.body.subarray(0, Math.floor(found.body.length * fault.share)), () => {
      if (fault.kind === "cut") response.destroy();
    });
  }

  #later(ms: number, then: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, ms);
    this.#timers.add(timer);
  }
}

const NOTHING = { status: 404, type: "text/plain", body: Buffer.from("Not found\n") };

const head = (response: ServerResponse, found: { status: number; type: string; body: Buffer }): void => {
  response.writeHead(found.status, {
    "content-type": found.type,
    "content-length": found.body.length,
    "cache-control": "no-store",
  });
};

const send = (response: ServerResponse, found: { status: number; type: string; body: Buffer }): void => {
  head(response, found);
  response.end(found.body);
};

const requiresPythonOf = ({ metadata }: Listed): string | undefined =>
  /^Requires-Python: (.*)$/m.exec(metadata ?? "")?.[1];

const asJson = (project: string, files: readonly Listed[]): object => ({
  meta: { "api-version": "1.1" },
  name: project,
  versions: [...new Set(files.map(({ file }) => file.split("-")[1]))],
  files: files.map((one) => ({
    filename: one.file,
    url: `../../files/${one.file}`,
    hashes: { sha256: one.sha256 },
    size: one.bytes.length,
    "core-metadata": one.metadata !== null,
    yanked: one.yanked ?? false,
    "requires-python": requiresPythonOf(one),
  })),
});

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

const asHtml = (files: readonly Listed[]): string => {
  const links = files.map((one) => {
    const python = requiresPythonOf(one);
    return [
      `<a href="../../files/${one.file}#sha256=${one.sha256}"`,
      one.metadata === null ? "" : ' data-core-metadata="true"',
      one.yanked === null ? "" : ` data-yanked="${escape(one.yanked)}"`,
      python === undefined ? "" : ` data-requires-python="${escape(python)}"`,
      `>${one.file}</a>`,
    ].join("");
  });
  return `<!DOCTYPE html><html><body>${links.join("\n")}</body></html>`;
};
