/** `modelport login`, `token` and `whoami`: who the CLI is to the platform. */
import { rename } from "node:fs/promises";
import type { Command } from "commander";
import { issueToken } from "./api.ts";
import { addVerb } from "./commands.ts";
import { CliError, usage } from "./failures.ts";
import { facts, when } from "./format.ts";
import type { CliIo } from "./io.ts";
import { administratorPath, findProfile, saveProfile } from "./profile.ts";
import type { Profile } from "./profile.ts";
import type { Session } from "./session.ts";
import { exchange, readAll } from "./transport.ts";

interface LoginOptions {
  readonly endpoint?: string;
  readonly domain?: string;
  readonly user?: string;
  readonly project?: string;
  readonly passwordStdin?: boolean;
  readonly administrator?: boolean;
}

const DEFAULT_ENDPOINT = "http://127.0.0.1:8080";

/** Reads a password from the terminal without showing it. */
const askPassword = (io: CliIo, prompt: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { stdin, stderr } = io;
    let typed = "";
    const finish = (settle: () => void): void => {
      stdin.setRawMode?.(false);
      stdin.pause();
      stdin.off("data", take);
      io.interrupt.removeEventListener("abort", abort);
      stderr.write("\n");
      settle();
    };
    const abort = (): void => finish(() => reject(new CliError("interrupted", "Interrupted.")));
    const take = (chunk: Buffer | string): void => {
      for (const character of chunk.toString()) {
        if (character === "\r" || character === "\n") return finish(() => resolve(typed));
        // In raw mode the terminal hands over Ctrl-C and Ctrl-D as characters.
        if (character === "\u0003" || character === "\u0004") return abort();
        if (character === "\u007f" || character === "\b") typed = Array.from(typed).slice(0, -1).join("");
        else typed += character;
      }
    };
    stderr.write(prompt);
    stdin.setRawMode?.(true);
    io.interrupt.addEventListener("abort", abort, { once: true });
    stdin.on("data", take);
    stdin.resume();
  });

const readPassword = async (io: CliIo, options: LoginOptions, user: string): Promise<string> => {
  if (options.passwordStdin) {
    const password = (await readAll(io.stdin)).toString("utf8").replace(/\r?\n$/, "");
    if (password === "")
      throw usage("There was no password on standard input.", "Pipe it in, without a line before it.");
    return password;
  }
  if (!io.stdin.isTTY) {
    throw usage("There is no terminal to ask for the password.", "Pipe it in and add `--password-stdin`.");
  }
  return askPassword(io, `Password of ${user}: `);
};

/** The project to work in: the one named, or the only one there is. */
const chooseProject = async (
  io: CliIo,
  endpoint: string,
  token: string,
): Promise<{ readonly id: string; readonly name: string }> => {
  const answer = await exchange({
    method: "GET",
    url: new URL("/v3/projects", endpoint),
    headers: { "x-auth-token": token },
    signal: io.interrupt,
  });
  const body = JSON.parse((await readAll(answer)).toString("utf8")) as {
    projects?: readonly { id: string; name: string }[];
  };
  const projects = body.projects ?? [];
  const only = projects[0];
  if (only !== undefined && projects.length === 1) return { id: only.id, name: only.name };
  throw usage(
    projects.length === 0 ? "You have no project." : `You have ${projects.length} projects.`,
    `Name one with \`--project\`: ${projects.map((project) => project.name).join(", ")}.`,
  );
};

const restoreAdministrator = async (session: Session): Promise<void> => {
  const { profilePath } = session.io;
  const kept = administratorPath(profilePath);
  const profile = await findProfile(kept);
  if (profile === null) {
    throw new CliError("notFound", "No administrator's profile is kept on this machine.", {
      next: "Log in with `modelport login --user NAME`.",
    });
  }
  await rename(kept, profilePath);
  session.answer({ user: profile.user, project: profile.project }, () => `You are ${profile.user} again.\n`);
};

const login = async (session: Session, options: LoginOptions): Promise<void> => {
  if (options.administrator) return restoreAdministrator(session);
  const { io } = session;
  const before = await findProfile(io.profilePath).catch(() => null);
  const endpoint = (options.endpoint ?? before?.endpoint ?? DEFAULT_ENDPOINT).replace(/\/+$/, "");
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint)) {
    throw usage(`${endpoint} is not an address.`, "Write it as http://HOST:PORT or https://HOST.");
  }
  const domain = options.domain ?? before?.domain;
  const user = options.user ?? before?.user;
  if (domain === undefined || user === undefined) {
    throw usage("Who you are is not known yet.", "Add `--domain NAME --user NAME`.");
  }
  const password = await readPassword(io, options, user);
  const sameHome = before !== null && before.endpoint === endpoint && before.domain === domain;
  const projectName = options.project ?? (sameHome ? before.project.name : undefined);
  const project =
    projectName === undefined
      ? await chooseProject(io, endpoint, (await issueToken(io, endpoint, { domain, user, password })).token)
      : { name: projectName };
  const issued = await issueToken(io, endpoint, { domain, user, password, project });
  if (issued.project === null) throw new CliError("auth", "The platform gave a token without a project.");
  // The first administrator's password exists in its profile only; logging in as someone else must not lose it.
  if (before?.password !== undefined && !(before.user === user && sameHome)) {
    await saveProfile(administratorPath(io.profilePath), before);
  }
  const certificateFile = before?.endpoint === endpoint ? before.certificateFile : undefined;
  const profile: Profile = {
    endpoint,
    ...(certificateFile === undefined ? {} : { certificateFile }),
    domain,
    user,
    project: issued.project,
    token: issued.token,
    expiresAt: issued.expiresAt,
    ...(before?.password === password && before.user === user && sameHome ? { password } : {}),
  };
  await saveProfile(io.profilePath, profile);
  session.answer(
    { endpoint, domain, user, project: issued.project, expires_at: new Date(issued.expiresAt).toISOString() },
    () =>
      `You are ${user} in project ${issued.project?.name ?? "-"} of ${endpoint}, until ${when(issued.expiresAt, io.clock.now())}.\n`,
  );
};

const token = async (session: Session): Promise<void> => {
  const api = await session.api();
  const value = await api.token();
  const { expiresAt } = api.profile;
  session.answer(
    { token: value, ...(expiresAt === undefined ? {} : { expires_at: new Date(expiresAt).toISOString() }) },
    () => `${value}\n`,
  );
};

interface TokenBody {
  readonly token: {
    readonly expires_at: string;
    readonly project?: { readonly id: string; readonly name: string };
    readonly user: {
      readonly id: string;
      readonly name: string;
      readonly domain: { readonly id: string; readonly name: string };
    };
  };
}

const whoami = async (session: Session): Promise<void> => {
  const api = await session.api();
  const { token: who } = await api.json<TokenBody>("GET", "/v3/auth/tokens", {
    headers: { "x-subject-token": await api.token() },
  });
  const answer = {
    endpoint: api.endpoint,
    user: who.user.name,
    user_id: who.user.id,
    domain: who.user.domain.name,
    domain_id: who.user.domain.id,
    project: who.project?.name ?? null,
    project_id: who.project?.id ?? null,
    expires_at: who.expires_at,
  };
  session.answer(answer, () =>
    facts(
      [
        ["user", `${answer.user} (${answer.user_id})`],
        ["domain", `${answer.domain} (${answer.domain_id})`],
        ["project", answer.project === null ? "-" : `${answer.project} (${answer.project_id ?? ""})`],
        ["endpoint", answer.endpoint],
        ["token until", when(Date.parse(answer.expires_at), session.io.clock.now())],
      ],
      session.paint,
    ),
  );
};

export const addIdentityCommands = (program: Command, io: CliIo): void => {
  addVerb<LoginOptions>(program, io, {
    usage: "login",
    summary: "log in to a platform and keep the token",
    about:
      "Asks for the password without showing it and keeps only the token it is exchanged for. On the machine where the " +
      "platform was first started you are logged in as its administrator already.",
    examples: [
      "login --user alice",
      "login --endpoint https://models.example.com --domain acme --user alice --project eu-1",
      "login --user alice --password-stdin < password.txt",
      "login --administrator",
    ],
    options: (command) =>
      command
        .option("--endpoint <url>", "address of the platform (default: that of the last login)")
        .option("--domain <name>", "domain of the user")
        .option("--user <name>", "name of the user")
        .option("--project <name>", "project to work in")
        .option("--password-stdin", "read the password from standard input")
        .option("--administrator", "go back to the administrator made at first start"),
    run: login,
  });
  addVerb(program, io, {
    usage: "token",
    summary: "print a valid token for X-Auth-Token",
    examples: ["token", `token --json`],
    run: token,
  });
  addVerb(program, io, {
    usage: "whoami",
    summary: "show who you are to the platform",
    examples: ["whoami", "whoami --json"],
    run: whoami,
  });
};
