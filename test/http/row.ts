/**
 * What a row of the table of odd requests and answers is, and the few words the rows are written in. `{url}`, `{token}`
 * and `{instance}` stand for the path of a service, a good token and an instance's authority.
 */

/** A request as the instance gets it, without what the gateway adds to every request. */
export interface Got {
  /** Without the version. */
  readonly line: string;
  /** The caller's fields that passed, in order. */
  readonly fields?: readonly string[];
  /** Sent with its Content-Length. */
  readonly body?: string;
  /** Sent in chunks. */
  readonly chunks?: string;
}

export interface Outcome {
  /** Every status on the connection, interim ones too. None: the connection just ends. */
  readonly answers: readonly number[];
  /** Whether a further request on the connection is answered. */
  readonly connection: "kept" | "closed";
  /** "nothing whole": the gateway may have begun to forward, and cut the connection instead of completing the request. */
  readonly gets: "nothing" | "nothing whole" | readonly Got[];
}

export interface RequestRow extends Outcome {
  readonly what: string;
  /** The bytes on the wire, as latin1. */
  readonly send: string;
  /** The caller's side of the connection ends behind the bytes. */
  readonly ends?: true;
  /** For the page, where what the instance gets is too long to show. */
  readonly shown?: string;
}

export interface AnswerRow {
  readonly what: string;
  /** The caller's request; GET without body when absent. */
  readonly send?: string;
  /** The bytes the instance answers with, and what becomes of its connection then. */
  readonly instance: string;
  readonly afterwards?: "keep" | "end" | "reset";
  /** At the head of the request, not waiting for its body. */
  readonly isEarly?: true;
  /** What the caller gets: the statuses, the fields but those the gateway adds, the body of the final answer. */
  readonly answers: readonly number[];
  readonly fields?: readonly string[];
  readonly body?: string;
  /** "closed": after the whole answer, or instead of its rest. */
  readonly connection: "kept" | "closed";
  /** Whether the gateway sends another request on the instance's connection. Absent: as the packets came. */
  readonly reused?: boolean;
}

export const HEAD = "Host: caller\r\nX-Auth-Token: {token}\r\n";

export const get = (lines = "", target = "{url}/x"): string =>
  `GET ${target} HTTP/1.1\r\n${HEAD}${lines}\r\n`;
export const post = (lines: string, body = ""): string =>
  `POST {url}/x HTTP/1.1\r\n${HEAD}${lines}\r\n${body}`;
export const chunked = (body: string): string => post("Transfer-Encoding: chunked\r\n", body);

/** Refused before an instance could hear of it. */
export const refused = (status = 400, connection: "kept" | "closed" = "closed"): Outcome => ({
  answers: [status],
  connection,
  gets: "nothing",
});
/** Refused in the middle of a body that was being forwarded. */
export const cut: Outcome = { answers: [400], connection: "closed", gets: "nothing whole" };
export const passed = (...gets: readonly Got[]): Outcome => ({
  answers: gets.map(() => 200),
  connection: "kept",
  gets,
});
export const GET: Got = { line: "GET /x" };
export const posted = (body: string): Got => ({ line: "POST /x", body });
export const withFields = (...fields: readonly string[]): Got => ({ line: "GET /x", fields });
