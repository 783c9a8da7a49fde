#!/usr/bin/env node
/**
 * Starts the program on the Node it needs, whatever Node was found first, and installs its packages when they are
 * missing. Plain JavaScript that any Node from 20 on can run.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fail, handOver, install, isInstalled, root, suitableNode } from "../scripts/runtime.mjs";

const main = join(root, "src", "start.js");
if (!existsSync(main))
  fail(`The program is not complete: ${main} is missing.`, "Get a fresh copy of the project.");
// stdout stays free for the command's own answer.
if (!existsSync(join(root, "node_modules")) || !isInstalled()) await install(process.stderr);
process.exit(await handOver(suitableNode(), [main, ...process.argv.slice(2)]));
