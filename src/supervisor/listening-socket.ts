/**
 * The platform's public listening socket. It belongs to the supervisor, which binds it and never accepts on it; gateways
 * get it as an inherited descriptor and listen on that. So it outlives every gateway: while one is killed and started
 * again, or two change places, connections wait in the kernel's queue and none is refused.
 *
 * Bound and not listened on: a net.Server would begin to accept the moment it listens, and what it accepts no gateway
 * ever sees. The first gateway's listen(2) puts the one socket behind all descriptors into listening, and there it stays.
 */
import { closeSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { BoundSocket } from "node:net";
import { StartRefused } from "./state.ts";

/** Where a process that inherits the socket finds it: after standard input, output, errors and the channel. */
export const INHERITED_FD = 4;

export interface ListeningSocket {
  readonly port: number;
  /** Null where sockets have no descriptor (Windows): the gateway then listens by itself, and nothing is handed over. */
  readonly fd: number | null;
  /** Lets go of this process's hold on it. */
  close(): void;
}

/** Binds; throws StartRefused when the address cannot be had. Port 0 lets the system choose. */
export const bindListeningSocket = async (host: string, port: number): Promise<ListeningSocket> => {
  let bound: BoundSocket;
  try {
    const { address } = await lookup(host);
    bound = new BoundSocket({ host: address, port });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === "EADDRINUSE"
      ? new StartRefused(
          `Port ${port} on ${host} is taken by another program.`,
          `Stop that program, or choose another port: MODELPORT_PORT=${port + 1} modelport up`,
        )
      : new StartRefused(
          `Cannot listen on ${host}:${port}: ${message}.`,
          "Choose another MODELPORT_HOST or MODELPORT_PORT.",
        );
  }
  const address = bound.address();
  const fd = bound.fd();
  if (fd < 0) {
    bound.close();
    return { port: address.port, fd: null, close: () => undefined };
  }
  return { port: address.port, fd, close: () => bound[Symbol.dispose]() };
};

/** The socket as a successor gets it from the supervisor before it. */
export const inheritListeningSocket = (port: number): ListeningSocket => {
  let isOpen = true;
  return {
    port,
    fd: INHERITED_FD,
    close: () => {
      if (isOpen) closeSync(INHERITED_FD);
      isOpen = false;
    },
  };
};
