/**
 * What bin/ and scripts/ share: where the project is, which Node it runs on, whether its packages are installed, and
 * how a child takes over the terminal. Plain JavaScript for any Node from 20 on: it runs before anything is installed.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const NODE_MAJOR = 26;
export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const bin = join(root, "node_modules", ".bin");

/** Prints a failure as the CLI does and ends. */
export const fail = (cause, next) => {
  process.stderr.write(`error: ${cause}\n  next: ${next}\n`);
  process.exit(1);
};

/** Whether node_modules holds what package-lock.json asks for. By content: times say nothing after a checkout. */
export const isInstalled = () => {
  const read = (...path) => JSON.parse(readFileSync(join(root, ...path), "utf8")).packages;
  try {
    const wanted = read("package-lock.json");
    const there = read("node_modules", ".package-lock.json");
    return Object.entries(wanted).every(([path, entry]) => {
      if (path === "" || entry.link) return true;
      const found = there[path];
      return found === undefined
        ? entry.optional === true || entry.peer === true
        : found.version === entry.version;
    });
  } catch {
    return false;
  }
};

const NO_NETWORK = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ECONNRESET|network/;

/** `npm ci`, with a sentence when it fails. `out` is the stream its progress goes to. */
export const install = async (out) => {
  out.write("Installing packages (npm ci), once …\n");
  const startedAt = Date.now();
  // npm must not run on the Node that it is about to replace.
  const path = (process.env.PATH ?? "").split(delimiter).filter((entry) => !entry.includes("node_modules"));
  const child = spawn("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    env: { ...process.env, PATH: path.join(delimiter) },
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32",
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      said += chunk;
    });
  }
  const ticking = setInterval(() => {
    if (out.isTTY) out.write(`\r${Math.round((Date.now() - startedAt) / 1000)} s `);
  }, 1000);
  const code = await new Promise((resolve) => {
    child.once("error", () => resolve("missing"));
    child.once("close", resolve);
  });
  clearInterval(ticking);
  if (out.isTTY) out.write("\r");
  if (code === "missing")
    fail("npm was not found.", "Install Node with npm (nodejs.org), then run the command again.");
  if (code !== 0) {
    process.stderr.write(`${said.trimEnd()}\n`);
    if (NO_NETWORK.test(said)) {
      fail(
        "The packages could not be fetched: the npm registry cannot be reached.",
        "Check the network or the proxy, then run the command again.",
      );
    }
    fail(`npm ci ended with ${code}.`, "Look at its message above, then run the command again.");
  }
  out.write(`Packages installed in ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
};

/** The Node to run on: this one if it is new enough, else the one that came with the packages. */
export const suitableNode = () => {
  if (Number(process.versions.node.split(".")[0]) >= NODE_MAJOR) return process.execPath;
  const file = process.platform === "win32" ? "node.exe" : "node";
  const found = [`node-${process.platform}-${process.arch}`, `node-bin-${process.platform}-${process.arch}`]
    .map((name) => join(root, "node_modules", name, "bin", file))
    .find((path) => existsSync(path));
  return (
    found ??
    fail(
      `This is Node ${process.versions.node}; the project runs on Node ${NODE_MAJOR}, and none is installed for ${process.platform}-${process.arch}.`,
      `Run \`npm ci\` in ${root} without --omit=optional, or install Node ${NODE_MAJOR}.`,
    )
  );
};

/** The environment of child processes: the project's tools and its Node first. */
export const toolEnv = () => ({ ...process.env, PATH: [bin, process.env.PATH ?? ""].join(delimiter) });

/** Gives the terminal to a child, forwards signals, and resolves with its exit code. */
export const handOver = (command, args) =>
  new Promise((resolve) => {
    const child = spawn(command, args, { stdio: "inherit" });
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
      let passedAt = 0;
      process.on(signal, () => {
        // Ctrl-C on a terminal reaches the child by itself. Elsewhere a signal to the whole group arrives here several
        // times (npm and every wrapper pass it on), and the child must not take that for someone who insists.
        if ((signal === "SIGINT" && process.stdin.isTTY) || Date.now() - passedAt < 1000) return;
        passedAt = Date.now();
        child.kill(signal);
      });
    }
    child.once("error", (error) =>
      fail(`${command} cannot be started: ${error.message}`, `Run \`npm ci\` in ${root}.`),
    );
    child.once("exit", (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
