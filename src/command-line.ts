/** Puts the command line together from the real process: streams, terminal, signals, settings. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCli } from "./cli/main.ts";
import { readConfig } from "./config.ts";
import type { Config } from "./config.ts";
import { problemText } from "./core/errors.ts";
import { createProbes } from "./doctor.ts";
import { createPlatformControl } from "./platform-control.ts";
import { systemClock } from "./telemetry/clock.ts";

/**
 * A platform of this machine that speaks TLS is believed by the very file it serves, which may be self-made: as the
 * settings name it (`up`), else as the profile that platform wrote does. Everything else is verified as usual.
 */
const trustOwnCertificate = (config: Config, profilePath: string): void => {
  try {
    const { certificateFile = config.tls?.certificateFile } =
      config.tls === null
        ? (JSON.parse(readFileSync(profilePath, "utf8")) as { certificateFile?: string })
        : {};
    if (certificateFile === undefined) return;
    const own = readFileSync(certificateFile, "utf8").match(
      /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g,
    );
    const tls = process.getBuiltinModule("node:tls");
    tls.setDefaultCACertificates([...tls.getCACertificates("default"), ...(own ?? [])]);
  } catch {
    // No profile or no file: whatever follows from that is told by the command that needs it.
  }
};

/** Runs one command; resolves to its exit code. */
export const runCommandLine = async (argv: readonly string[]): Promise<number> => {
  const settings = readConfig();
  if (!settings.ok) {
    const lines = settings.problems.map((problem) => `  ${problemText(problem)}`);
    if (argv.includes("--json")) {
      const error = { message: "Some settings are wrong.", exit_code: 2, problems: settings.problems };
      process.stdout.write(`${JSON.stringify({ error }, null, 2)}\n`);
    } else process.stderr.write(`Some settings are wrong:\n${lines.join("\n")}\n`);
    return 2;
  }
  const { config } = settings;
  const profilePath = join(config.dataDir, "cli.json");
  trustOwnCertificate(config, profilePath);
  const interrupt = new AbortController();
  let signals = 0;
  // Node has SIGHUP end a program under nohup as well: it sets every signal back at its start.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      interrupt.abort();
      // A clean stop may wait for predictions in flight; someone who insists gets out at once.
      if (++signals === 3) process.exit(130);
    });
  }
  // A reader that goes away (`modelport … | head`) ends the command quietly.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return runCli([...argv], {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    isTty: process.stdout.isTTY,
    isStderrTty: process.stderr.isTTY,
    colour: process.stdout.isTTY && !config.noColour,
    columns: process.stdout.columns ?? 100,
    dataDir: config.dataDir,
    profilePath,
    examplesDir: fileURLToPath(new URL("../examples", import.meta.url)),
    clock: systemClock,
    interrupt: interrupt.signal,
    // Loaded when it is asked for: every other command starts without it.
    packageRun: async () =>
      (await import("./package-run.ts")).createPackageRun(config, { clock: systemClock }),
    runtimes: async () => {
      const { Machine } = await import("./environments/machine.ts");
      return new Machine({
        tools: join(config.dataDir, "tools"),
        machinePython: config.python,
        fetchPython: config.fetchPython,
        devices: config.devices,
        environment: config.toolEnvironment,
        clock: systemClock,
      }).states();
    },
    platform: createPlatformControl(config, {
      clock: systemClock,
      interrupt: interrupt.signal,
      probes: createProbes(config),
    }),
  });
};
