/**
 * The gateway's place: a role like control, but one whose process may be replaced without a gap. A gateway that is asked
 * to end (SIGTERM) says that it is leaving and serves on; the next one is started beside it on the same socket and, once
 * ready, takes the place; only then is the old one retired. One that never gets ready is tried again with the role's
 * pauses, and the old one serves until then. Should it die meanwhile, its own role starts it again as after any death.
 */
import type { ProcessIdentity } from "../telemetry/process-identity.ts";
import type { Role } from "./role.ts";

/** What a place needs of a role. */
export type PlaceRole = Pick<Role, "identity" | "restarts" | "start" | "startInTheEnd" | "end">;

interface PlaceDeps {
  /** Makes a role; `onLeaving` is called when its process says that it leaves. */
  readonly create: (onLeaving: () => void) => PlaceRole;
  readonly graceMs: number;
  readonly onStep: (text: string) => void;
  /** Another process holds the place, or one that held it is gone. */
  readonly onChange: () => void;
}

export class GatewayPlace {
  readonly name = "gateway";
  readonly #deps: PlaceDeps;
  #current: PlaceRole;
  /** Comes, to take the place. */
  #next: PlaceRole | null = null;
  /** Had the place, and answer what they have in hand. */
  readonly #former = new Set<PlaceRole>();
  /** Of those that had the place before, each replacement included. */
  #restartsBefore = 0;
  #isEnding = false;

  constructor(deps: PlaceDeps) {
    this.#deps = deps;
    this.#current = this.#create();
  }

  get identity(): ProcessIdentity | null {
    return this.#current.identity;
  }

  get restarts(): number {
    return this.#restartsBefore + this.#current.restarts;
  }

  /** The processes beside the one that has the place. */
  get beside(): readonly ProcessIdentity[] {
    return this.#beside.flatMap(({ identity }) => identity ?? []);
  }

  start(): Promise<void> {
    return this.#current.start();
  }

  /** Ends all there are, and starts none any more. */
  async end(how: "stop" | "retire", graceMs: number): Promise<void> {
    this.#isEnding = true;
    await Promise.all([this.#current, ...this.#beside].map((role) => role.end(how, graceMs)));
  }

  get #beside(): readonly PlaceRole[] {
    return this.#next === null ? [...this.#former] : [this.#next, ...this.#former];
  }

  #create(): PlaceRole {
    const role: PlaceRole = this.#deps.create(() => void this.#replace(role));
    return role;
  }

  async #replace(leaving: PlaceRole): Promise<void> {
    // Asked twice, or on its way already.
    if (leaving !== this.#current || this.#next !== null || this.#isEnding) return;
    const next = this.#create();
    this.#next = next;
    this.#deps.onStep("the gateway was asked to end; it serves until the next one does");
    await next.startInTheEnd();
    if (this.#isEnding) return;
    this.#restartsBefore += leaving.restarts + 1;
    this.#current = next;
    this.#next = null;
    this.#former.add(leaving);
    this.#deps.onChange();
    await leaving.end("retire", this.#deps.graceMs);
    this.#former.delete(leaving);
    this.#deps.onChange();
  }
}
