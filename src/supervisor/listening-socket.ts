/**
 * The platform's public listening socket. It belongs to the supervisor, which binds it and never accepts on it; gateways
 * get it as an inherited descriptor and listen on that. So it outlives every gateway: while one is killed and started
 * again, or two change places, connections wait in the kernel's queue and none is refused.
 *
 * A gateway of several threads has one for each, all at the same address (SO_REUSEPORT): the kernel then spreads the
 * connections over them by where they come from. Which it does as long as the socket is open, so all of them are
 * listened on for as long as the platform lives: their number is decided when it starts.
 *
 * Bound and not listened on: a net.Server would begin to accept the moment it listens, and what it accepts no gateway
 * ever sees. The first gateway's listen(2) puts the one socket behind all descriptors into listening, and there it stays.
 */
import { closeSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { BoundSocket } from "node:net";
import { StartRefused } from "./state.ts";

/** Where a process that inherits sockets finds the first: after standard input, output, errors and the channel. */
const INHERITED_FD = 4;

export interface ListeningSocket {
  readonly port: number;
  /** Null where sockets have no descriptor (Windows): the gateway then listens by itself, and nothing is handed over. */
  readonly fds: readonly number[] | null;
  /** Lets go of this process's hold on it. */
  close(): void;
}

/** Binds `count` sockets; throws StartRefused when the address cannot be had. Port 0 lets the system choose. */
export const bindListeningSocket = async (
  host: string,
  port: number,
  count: number,
): Promise<ListeningSocket> => {
  const bound: BoundSocket[] = [];
  const close = (): void => {
    for (const socket of bound) socket[Symbol.dispose]();
  };
  try {
    const { address } = await lookup(host);
    // Sockets that share an address would share it with another platform's, too: first see that nobody is there.
    if (count > 1) new BoundSocket({ host: address, port }).close();
    for (let n = 0; n < count; n += 1) {
      const at = bound[0]?.address().port ?? port;
      bound.push(new BoundSocket({ host: address, port: at, reusePort: count > 1 }));
    }
  } catch (error) {
    close();
    throw refusalOf(error as NodeJS.ErrnoException, host, port);
  }
  const fds = bound.map((socket) => socket.fd());
  const { port: chosen } = bound[0]?.address() ?? { port };
  if (fds.every((fd) => fd >= 0)) return { port: chosen, fds, close };
  close();
  return { port: chosen, fds: null, close: () => undefined };
};

const refusalOf = ({ code, message }: NodeJS.ErrnoException, host: string, port: number): StartRefused => {
  if (code === "EADDRINUSE") {
    return new StartRefused(
      `Port ${port} on ${host} is taken by another program.`,
      `Stop that program, or choose another port: MODELPORT_PORT=${port + 1} modelport up`,
    );
  }
  if (code === "ENOTSUP") {
    return new StartRefused(
      "This system cannot spread connections over several threads.",
      "Leave MODELPORT_GATEWAY_THREADS at 1.",
    );
  }
  return new StartRefused(
    `Cannot listen on ${host}:${port}: ${message}.`,
    "Choose another MODELPORT_HOST or MODELPORT_PORT.",
  );
};

/** The descriptors of `count` inherited sockets. */
export const inheritedFds = (count: number): readonly number[] =>
  Array.from({ length: count }, (_, n) => INHERITED_FD + n);

/** The sockets as a successor gets them from the supervisor before it. */
export const inheritListeningSocket = (port: number, count: number): ListeningSocket => {
  let isOpen = true;
  const fds = inheritedFds(count);
  return {
    port,
    fds,
    close: () => {
      if (isOpen) for (const fd of fds) closeSync(fd);
      isOpen = false;
    },
  };
};
