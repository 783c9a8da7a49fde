/**
 * A real PostgreSQL server of a test's own: a fresh cluster in a temporary directory, reached over a unix socket (no
 * port to collide on), without fsync. Nothing is left after `stop`; when the test's process is killed, the server ends
 * with it on Linux.
 */
import { execFile, spawn } from "node:child_process";
import { accessSync, constants, readdirSync } from "node:fs";
import { chown, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

const execute = promisify(execFile);

export interface TestPostgres {
  /** Of the server's own `postgres` database. */
  readonly url: string;
  /** Makes an empty database and returns its URL. Its default collation is English where the server can do that. */
  createDatabase(): Promise<string>;
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;

/** Starts a server. Throws a sentence when the machine has no PostgreSQL. */
export const startPostgres = async (): Promise<TestPostgres> => {
  const bin = findBinaries();
  const dir = await mkdtemp(join(tmpdir(), "mp-pg-"));
  const asUser = await unprivileged(dir);
  const data = join(dir, "data");
  const options = { cwd: dir, env: { PATH: process.env["PATH"] ?? "", HOME: dir, LC_ALL: "C.UTF-8" } };
  const initdb = [
    join(bin, "initdb"),
    "-D",
    data,
    "-U",
    "postgres",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--no-sync",
  ];
  try {
    const [program = "", ...args] = [...asUser, ...initdb];
    await execute(program, args, options);
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw new Error(`initdb failed: ${String(error)}`, { cause: error });
  }
  const settings = ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off"];
  const server = [join(bin, "postgres"), "-D", data, "-k", dir, ...settings.flatMap((s) => ["-c", s])];
  const [program = "", ...args] = [...asUser, ...server];
  const child = spawn(program, args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log = (log + text).slice(-20_000)));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    // SIGINT is PostgreSQL's fast shutdown: sessions are ended, shared memory is removed.
    child.kill("SIGINT");
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  const urlOf = (database: string): string =>
    `postgres://postgres@localhost/${database}?host=${encodeURIComponent(dir)}`;
  const url = urlOf("postgres");
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await answers(url))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`PostgreSQL did not start:\n${log}`);
    }
    await sleep(50);
  }
  let made = 0;
  return {
    url,
    stop,
    createDatabase: async () => {
      const name = `test_${++made}`;
      await withClient(url, async (client) => {
        const icu = await client.query("select 1 from pg_collation where collname = 'en-x-icu'");
        const locale = icu.rows.length > 0 ? "locale_provider icu icu_locale 'en'" : "";
        await client.query(`create database ${name} template template0 ${locale}`);
      });
      return urlOf(name);
    },
  };
};

const withClient = async <T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

const answers = async (url: string): Promise<boolean> => {
  try {
    await withClient(url, (client) => client.query("select 1"));
    return true;
  } catch {
    return false;
  }
};

/** The folder of initdb and postgres: PATH, then Debian's places, the newest version first. */
const findBinaries = (): string => {
  const debian = "/usr/lib/postgresql";
  const versions = listed(debian).toSorted((a, b) => Number(b) - Number(a));
  const folders = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    ...versions.map((version) => join(debian, version, "bin")),
  ];
  const found = folders.find(
    (folder) => isProgram(join(folder, "initdb")) && isProgram(join(folder, "postgres")),
  );
  if (found === undefined) {
    throw new Error(
      "PostgreSQL's programs initdb and postgres were not found on PATH or below /usr/lib/postgresql; " +
        "install PostgreSQL (Debian: apt-get install postgresql) to run this test.",
    );
  }
  return found;
};

const listed = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** PostgreSQL refuses to run as root: the prefix of a command that runs as another user, who gets the directory. */
const unprivileged = async (dir: string): Promise<readonly string[]> => {
  if (process.platform !== "linux") return [];
  const endWithParent = ["setpriv", "--pdeathsig", "QUIT"];
  if (userInfo().uid !== 0) return isProgram("/usr/bin/setpriv") ? endWithParent : [];
  const users = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  const [uid, gid] = [Number(user?.[2]), Number(user?.[3])];
  if (!Number.isInteger(uid) || !Number.isInteger(gid)) {
    throw new Error("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as.");
  }
  await chown(dir, uid, gid);
  return [...endWithParent, "--reuid", String(uid), "--regid", String(gid), "--clear-groups"];
};
