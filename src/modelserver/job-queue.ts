/** Jobs that wait for a worker, first in, first out. One that is settled elsewhere meanwhile is passed over. */

export interface Waiting {
  state: "queued" | "running" | "settled";
  /** It is handed out by itself. */
  readonly alone: boolean;
  /** What it holds of the process's memory. */
  readonly bytes: number;
}

const EMPTIED_MAX = 1024;
/** What jobs handed out together may hold, since a worker holds them all before it begins. */
const TOGETHER_BYTES_MAX = 16 * 1024 * 1024;

export class JobQueue<Job extends Waiting> {
  /** Settled jobs stay until they reach the head; `#size` counts those that still wait. */
  #jobs: Job[] = [];
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(job: Job): void {
    this.#jobs.push(job);
    this.#size++;
  }

  /** Before all others, in their order. */
  putBack(jobs: readonly Job[]): void {
    this.#jobs = [...jobs, ...this.#jobs.slice(this.#head)];
    this.#head = 0;
    this.#size += jobs.length;
  }

  /** A job that waits here has been settled. What it holds must not stay for long. */
  left(): void {
    this.#size--;
    if (this.#jobs.length - this.#head < 2 * this.#size + EMPTIED_MAX / 16) return;
    this.#jobs = this.#jobs.slice(this.#head).filter(({ state }) => state === "queued");
    this.#head = 0;
  }

  /** The first job, left where it is. */
  peek(): Job | undefined {
    while (this.#head < this.#jobs.length && this.#jobs[this.#head]?.state !== "queued") this.#head++;
    return this.#jobs[this.#head];
  }

  shift(): Job | undefined {
    while (this.#head < this.#jobs.length) {
      const job = this.#jobs[this.#head++];
      // Give back the emptied front now and then instead of moving the whole queue each time.
      if (this.#head > EMPTIED_MAX || this.#head === this.#jobs.length) {
        this.#jobs = this.#jobs.slice(this.#head);
        this.#head = 0;
      }
      if (job?.state === "queued") {
        this.#size--;
        return job;
      }
    }
    return undefined;
  }

  /** The first jobs, at most so many and so large; one that is to be handed out by itself comes by itself. */
  shiftTogether(most: number): Job[] {
    const jobs: Job[] = [];
    let bytes = 0;
    while (jobs.length < most) {
      const next = this.peek();
      if (next === undefined) break;
      bytes += next.bytes;
      if (jobs.length > 0 && (next.alone || bytes > TOGETHER_BYTES_MAX)) break;
      this.shift();
      jobs.push(next);
      if (next.alone) break;
    }
    return jobs;
  }
}
