/**
 * The platform's public API as the commands use it: authenticated JSON calls, paging, and token renewal. Answers are
 * read through the interfaces of api-shapes.ts; the contract's own tests keep both sides true.
 */
import type { IncomingMessage } from "node:http";
import type { CliIo } from "./io.ts";
import { CliError, apiFailure } from "./failures.ts";
import { findProfile, saveProfile } from "./profile.ts";
import type { Profile } from "./profile.ts";
import { exchange, readAll } from "./transport.ts";
import type { Exchange } from "./transport.ts";

/** A call that has not been answered after this long is given up; predictions, uploads and logs have no such limit. */
const ANSWER_WITHIN_MS = 60_000;
/** A token is renewed this long before it ends, so that a printed one is good for a while. */
const RENEW_BEFORE_MS = 5 * 60_000;

export interface Credentials {
  readonly domain: string;
  readonly user: string;
  readonly password: string;
  /** Absent: the only project, or the one of the domain's name, is chosen. */
  readonly project?: { readonly id?: string; readonly name?: string };
}

export interface Issued {
  readonly token: string;
  readonly expiresAt: number;
  readonly project: { readonly id: string; readonly name: string } | null;
}

const requestIdOf = (message: IncomingMessage): string | undefined => {
  const value = message.headers["x-request-id"];
  return typeof value === "string" ? value : undefined;
};

const failed = async (message: IncomingMessage): Promise<CliError> =>
  apiFailure(message.statusCode ?? 0, (await readAll(message)).toString("utf8"), requestIdOf(message));

/** `POST /v3/auth/tokens` with a password. */
export const issueToken = async (
  io: Pick<CliIo, "interrupt">,
  endpoint: string,
  who: Credentials,
): Promise<Issued> => {
  const answer = await exchange({
    method: "POST",
    url: new URL("/v3/auth/tokens?nocatalog=true", endpoint),
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      auth: {
        identity: {
          methods: ["password"],
          password: { user: { name: who.user, password: who.password, domain: { name: who.domain } } },
        },
        scope: who.project === undefined ? { domain: { name: who.domain } } : { project: who.project },
      },
    }),
    signal: AbortSignal.any([io.interrupt, AbortSignal.timeout(ANSWER_WITHIN_MS)]),
  });
  if (answer.statusCode !== 201) throw await failed(answer);
  const token = answer.headers["x-subject-token"];
  const body = JSON.parse((await readAll(answer)).toString("utf8")) as {
    token: { expires_at: string; project?: { id: string; name: string } };
  };
  if (typeof token !== "string") {
    throw new CliError("failed", `${endpoint} answered a login without a token.`, {
      next: "Check that the endpoint is a Modelport gateway.",
    });
  }
  const project = body.token.project;
  return {
    token,
    expiresAt: Date.parse(body.token.expires_at),
    project: project === undefined ? null : { id: project.id, name: project.name },
  };
};

export interface Call {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Exchange["body"];
  /** Replaces the limit on the time to an answer; null: none. */
  readonly withinMs?: number | null;
}

export class Api {
  readonly #io: CliIo;
  #profile: Profile;
  /** The renewal under way, so that parallel calls ask for one token. */
  #renewal: Promise<string> | null = null;

  constructor(io: CliIo, profile: Profile) {
    this.#io = io;
    this.#profile = profile;
  }

  get profile(): Profile {
    return this.#profile;
  }

  get endpoint(): string {
    return this.#profile.endpoint;
  }

  /** Whether the project id is part of the path: everything but IAM, `/healthz` and predictions. */
  inProject(path: string): string {
    return `/v1/${this.#profile.project.id}${path}`;
  }

  /** A token that is good for some minutes; asks for a new one when the profile holds the password for it. */
  async token(): Promise<string> {
    const { token, expiresAt } = this.#profile;
    const now = this.#io.clock.now();
    if (token !== undefined && (expiresAt === undefined || expiresAt - RENEW_BEFORE_MS > now)) return token;
    if (this.#profile.password !== undefined) return this.#renew();
    if (token !== undefined && expiresAt !== undefined && expiresAt > now) return token;
    throw new CliError("auth", "Your token has expired.", { next: "Get a new one with `modelport login`." });
  }

  async #renew(): Promise<string> {
    this.#renewal ??= this.#askForToken().finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #askForToken(): Promise<string> {
    const { password, domain, user, project, endpoint } = this.#profile;
    if (password === undefined) {
      throw new CliError("auth", "Your token is no longer accepted.", {
        next: "Get a new one with `modelport login`.",
      });
    }
    const issued = await issueToken(this.#io, endpoint, {
      domain,
      user,
      password,
      project: { id: project.id },
    });
    this.#profile = { ...this.#profile, token: issued.token, expiresAt: issued.expiresAt };
    // Another command may have logged in as someone else meanwhile; its profile is not ours to overwrite.
    const stored = await findProfile(this.#io.profilePath);
    if (stored !== null && stored.user === user && stored.password === password) {
      await saveProfile(this.#io.profilePath, {
        ...stored,
        token: issued.token,
        expiresAt: issued.expiresAt,
      });
    }
    return issued.token;
  }

  /** Sends an authenticated call and hands back the answer, whatever its status. */
  async send(method: string, path: string, call: Call = {}): Promise<IncomingMessage> {
    const url = new URL(path, this.#profile.endpoint);
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const within = call.withinMs === undefined ? ANSWER_WITHIN_MS : call.withinMs;
    const signal =
      within === null
        ? this.#io.interrupt
        : AbortSignal.any([this.#io.interrupt, AbortSignal.timeout(within)]);
    const once = (token: string): Promise<IncomingMessage> =>
      exchange({
        method,
        url,
        headers: { "x-auth-token": token, ...call.headers },
        ...(call.body === undefined ? {} : { body: call.body }),
        signal,
      });
    const answer = await once(await this.token());
    const sentOnce = typeof call.body === "object" && "stream" in call.body;
    if (answer.statusCode !== 401 || this.#profile.password === undefined || sentOnce) return answer;
    // Refused although it had not expired: the platform's key changed or the token was revoked.
    answer.resume();
    return once(await this.#renew());
  }

  /** Like `send`, but an answer that is not 2xx is thrown. */
  async demand(method: string, path: string, call: Call = {}): Promise<IncomingMessage> {
    const answer = await this.send(method, path, call);
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    throw await failed(answer);
  }

  /** A call with JSON in and out. */
  async json<T>(method: string, path: string, call: Call & { readonly json?: unknown } = {}): Promise<T> {
    const answer = await this.demand(method, path, {
      ...call,
      ...(call.json === undefined
        ? {}
        : {
            headers: { "content-type": "application/json", ...call.headers },
            body: JSON.stringify(call.json),
          }),
    });
    const text = (await readAll(answer)).toString("utf8");
    if (text === "") return {} as T;
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new CliError(
        "failed",
        `${this.endpoint} answered ${method} ${path} with something that is not JSON.`,
        {
          next: "Check that the endpoint is a Modelport gateway.",
          cause,
        },
      );
    }
  }

  get<T>(path: string, query: Call["query"] = {}): Promise<T> {
    return this.json<T>("GET", path, { query });
  }

  /** All rows of a paged list: `member` names the array. */
  async all<T>(path: string, member: string, query: Call["query"] = {}): Promise<T[]> {
    const rows: T[] = [];
    for (;;) {
      const page = await this.get<Record<string, unknown>>(path, {
        ...query,
        offset: rows.length,
        limit: 1000,
      });
      const part = (page[member] ?? []) as T[];
      rows.push(...part);
      const total = Number(page["total_count"] ?? rows.length);
      if (part.length === 0 || rows.length >= total) return rows;
    }
  }
}
