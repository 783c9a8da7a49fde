/**
 * What `npm run demo` and `npm test` start, on a fresh clone with nothing but Node 20, npm and Python 3: installs the
 * packages when they are missing or not those of the lock, then goes on with the Node that came with them.
 */
import { join } from "node:path";
import { fail, handOver, install, isInstalled, root, suitableNode } from "./runtime.mjs";

const COMMANDS = {
  demo: [join(root, "bin", "modelport.mjs"), "demo"],
  test: [join(root, "scripts", "test.mjs")],
};

const [name, ...rest] = process.argv.slice(2);
const command = COMMANDS[name];
if (command === undefined) {
  fail(`There is no command ${name ?? "(none)"}.`, `Use one of ${Object.keys(COMMANDS).join(", ")}.`);
}
if (!isInstalled()) await install(process.stdout);
process.exit(await handOver(suitableNode(), [...command, ...rest]));
