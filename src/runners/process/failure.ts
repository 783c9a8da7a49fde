/** Turns how an instance ended into words: exit code or signal, and what it printed last. */
import type { Failure } from "../../core/service.ts";
import { tailLines } from "./logs.ts";

const DETAIL_LINES = 20;

/** The line that says what went wrong: a traceback's last one (`ValueError: …`), else the last one printed. */
const TRACEBACK_END = /^[\w.]*(Error|Exception|Warning|Interrupt|Exit|Iteration)\b(:|$)/;

export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** `ending` is null when nobody saw how it ended: the process was not our child. */
export const exited = async (ending: Ending | null, logFile: string): Promise<Failure> => {
  const lines = (await tailLines(logFile, DETAIL_LINES)).filter((line) => line.trim() !== "");
  // What was printed before says why a program ends itself, not why somebody else ended it.
  const isCause = ending?.signal === undefined || ending.signal === null;
  const cause = isCause ? (lines.findLast((line) => TRACEBACK_END.test(line)) ?? lines.at(-1)) : undefined;
  return {
    reason: "exited",
    message: `The instance ${howEnded(ending)}.${cause === undefined ? "" : ` ${cause.trim()}`}`,
    ...(lines.length === 0 ? {} : { detail: lines.join("\n") }),
    exitCode: ending?.code ?? null,
  };
};

const howEnded = (ending: Ending | null): string => {
  if (ending === null) return "ended";
  if (ending.signal === "SIGKILL") return "was killed (SIGKILL), as happens when memory runs out";
  if (ending.signal !== null) return `was ended by ${ending.signal}`;
  return `exited with code ${ending.code ?? "unknown"}`;
};
