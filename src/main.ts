/**
 * What a process is (started by start.js): the first argument names a role of the platform, anything else is the
 * command line. Each is imported only when it runs, so the gateway never loads the database driver and an instance
 * starts in milliseconds.
 */
const [first, ...rest] = process.argv.slice(2);

const role = first ?? "";

switch (role) {
  case "modelserver": {
    const { runModelserver } = await import("./modelserver/main.ts");
    const spec = rest[rest.indexOf("--spec") + 1];
    if (!rest.includes("--spec") || spec === undefined) {
      process.stderr.write("usage: modelport modelserver --spec FILE (started by a runner, not by hand)\n");
      process.exitCode = 2;
    } else await runModelserver(spec);
    break;
  }
  case "control":
  case "gateway": {
    const { runRole } = await import("./role-process.ts");
    await runRole(role);
    break;
  }
  case "supervisor":
  case "successor": {
    const { runSupervisor } = await import("./supervisor-process.ts");
    process.exitCode = await runSupervisor(role);
    break;
  }
  case "compile": {
    // Only loads what the roles load, so that their compiled code is in the cache (start.js) before they start.
    await import("./role-process.ts");
    await Promise.all(
      rest[0] === "control"
        ? [import("./control.ts")]
        : [
            import("./gateway.ts"),
            import("./modelserver/main.ts"),
            import("./command-line.ts"),
            import("./supervisor-process.ts"),
          ],
    );
    break;
  }
  default: {
    const { runCommandLine } = await import("./command-line.ts");
    process.exitCode = await runCommandLine(process.argv.slice(2));
  }
}
