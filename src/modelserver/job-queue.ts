/** Jobs that wait for a worker, first in, first out. One that is settled elsewhere meanwhile is passed over. */

export interface Waiting {
  state: "queued" | "running" | "settled";
  /** It is handed out by itself. */
  readonly alone: boolean;
}

const EMPTIED_MAX = 1024;

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

  /** A job that waits here is being settled. */
  left(): void {
    this.#size--;
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

  /** The first jobs, at most so many; one that is to be handed out by itself comes by itself. */
  shiftTogether(most: number): Job[] {
    const jobs: Job[] = [];
    while (jobs.length < most) {
      if (jobs.length > 0 && this.peek()?.alone !== false) break;
      const job = this.shift();
      if (job === undefined) break;
      jobs.push(job);
      if (job.alone) break;
    }
    return jobs;
  }
}
