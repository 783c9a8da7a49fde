/** Makes the environments of the peers (requirements.txt) with uv: node bench/packages/setup.ts DIR [--python PYTHON] [--uv UV] */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { python: { type: "string", default: "python3.11" }, uv: { type: "string", default: "uv" } },
});
const dir = resolve(positionals[0] ?? "peers");
const lines = readFileSync(join(import.meta.dirname, "requirements.txt"), "utf8").split("\n");
for (const line of lines.filter((text) => text !== "" && !text.startsWith("#"))) {
  const [name = "", ...requirements] = line.split(" ");
  const home = join(dir, name);
  if (!existsSync(home)) execFileSync(values.uv, ["venv", "--quiet", "--python", values.python, home]);
  const python = join(home, "bin/python");
  execFileSync(values.uv, ["pip", "install", "--quiet", "--python", python, ...requirements], {
    stdio: "inherit",
  });
  console.log(`${name}: ${requirements.join(" ")}`);
}
