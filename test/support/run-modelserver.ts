/** Runs the modelserver alone: `node test/support/run-modelserver.ts SPEC`. */
import { runModelserver } from "../../src/modelserver/main.ts";

await runModelserver(process.argv[2] ?? "");
