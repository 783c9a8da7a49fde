/** Finds what in a package's code is not Python 3, line by line, with the interpreter that would run it. */
import type { Problem } from "../core/errors.ts";
import type { Finished } from "./command.ts";

// The parser stops at its first error. What it complains of is replaced by something harmless, and it goes on.
const SCRIPT = `
import ast, json, sys
found = []
for path in sys.argv[2:]:
    with open(sys.argv[1] + "/" + path, "rb") as f:
        text = f.read()
    lines, last = None, 0
    for _ in range(20):
        try:
            compile(text, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
            break
        except SyntaxError as error:
            line = error.lineno or 0
            lines = text.decode("utf-8", "replace").split("\\n")
            # Old parsers tell the end of a string of several lines; what lies behind is not trusted.
            if line <= last or line > len(lines):
                if last == 0:
                    found.append([path, line, str(error.msg), ""])
                break
            last, was = line, lines[line - 1]
            found.append([path, line, str(error.msg), was.strip()[:120]])
            body = was.lstrip()
            stand = "except Exception:" if body.startswith("except") else "if 1:" if body.rstrip().endswith(":") else "pass"
            lines[line - 1] = was[: len(was) - len(body)] + stand
            text = "\\n".join(lines).encode("utf-8")
        except ValueError as error:
            found.append([path, 0, str(error), ""])
            break
print(json.dumps(found))
`;

/** One problem per line that does not parse; empty when all of it is Python 3 too. */
export const linesOfPython2 = async (
  run: (program: string, args: readonly string[]) => Promise<Finished>,
  python: string,
  code: { readonly dir: string; readonly files: readonly string[] },
): Promise<readonly Problem[]> => {
  if (code.files.length === 0) return [];
  const { code: status, stdout } = await run(python, ["-c", SCRIPT, code.dir, ...code.files]);
  if (status !== 0) return [];
  const found = JSON.parse(stdout) as readonly (readonly [string, number, string, string])[];
  return found.map(([path, line, message, text]) => ({
    path: `${path}:${line}`,
    message: `is not Python 3${text === "" ? "" : `: ${text}`} (${message})`,
    fix: "port it to Python 3; nothing here runs Python 2",
  }));
};
