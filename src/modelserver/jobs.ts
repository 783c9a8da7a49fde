/** A prediction inside the instance: what it asks, where its items go, what became of it. */
import type { Failure } from "../core/service.ts";
import type { StepTimes } from "./measures.ts";
import type { FailedFrame, Part } from "./protocol.ts";

export interface JobInput {
  readonly contentType: string;
  readonly query: string;
  readonly parts: readonly Part[];
  readonly body: readonly Buffer[];
  readonly bodyBytes: number;
  /** From now; covers waiting and execution. */
  readonly deadlineMs: number;
  /** Takes the answer item by item, when it is an iterator; null: as a whole. */
  readonly items: ItemSink | null;
}

/** Where the items of a streamed answer go. */
export interface ItemSink {
  /** False: enough for now; `onDrain` is called once there is room again, or nobody is left. */
  write(item: Buffer, onDrain: () => void): boolean;
}

/** What became of a job. `crashed`: the worker ended while it held the job. */
export type JobOutcome =
  | { readonly kind: "answer"; readonly body: Buffer; readonly items?: number }
  | { readonly kind: "failed"; readonly frame: FailedFrame }
  | { readonly kind: "timeout"; readonly executing: boolean }
  | { readonly kind: "crashed"; readonly message: string; readonly fault: string }
  | { readonly kind: "unavailable"; readonly failure: Failure | null };

export interface JobTiming {
  readonly queueMs: number;
  readonly workerMs: number;
  /** By the worker's own clock; null when it told none. */
  readonly steps: StepTimes | null;
}
