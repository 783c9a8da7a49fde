/**
 * `modelport completion`: a short script per shell that asks the hidden `__complete` command, so completions follow
 * the command tree by themselves and know the names of models and services.
 */
import { Argument } from "commander";
import type { Command } from "commander";
import { Api } from "./api.ts";
import type { ModelItem, ServiceItem } from "./api-shapes.ts";
import type { CliIo } from "./io.ts";
import { loadProfile } from "./profile.ts";

const SCRIPTS = {
  bash: `_modelport() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(modelport __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _modelport modelport
`,
  zsh: `#compdef modelport
_modelport() {
  local -a found
  found=("\${(@f)$(modelport __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if (( \${#found[1]} )); then compadd -- "\${found[@]}"; else _files; fi
}
compdef _modelport modelport
`,
  fish: `function __modelport_complete
  set -l words (commandline -opc) (commandline -ct)
  modelport __complete -- $words[2..-1] 2>/dev/null
end
complete -c modelport -a '(__modelport_complete)'
`,
} as const;

type Shell = keyof typeof SCRIPTS;

const INSTALL: Readonly<Record<Shell, string>> = {
  bash: "source <(modelport completion bash)      in ~/.bashrc",
  zsh: "source <(modelport completion zsh)       in ~/.zshrc, after compinit",
  fish: "modelport completion fish | source       in ~/.config/fish/config.fish",
};

/** Names from the platform; none when it does not answer at once. */
const names = async (io: CliIo, noun: string): Promise<readonly string[]> => {
  const api = new Api(io, await loadProfile(io.profilePath));
  if (noun === "service") {
    const { services } = await api.get<{ services: readonly ServiceItem[] }>(api.inProject("/services"));
    return services.map((row) => row.service_name);
  }
  const { models } = await api.get<{ models: readonly ModelItem[] }>(api.inProject("/models"));
  return [...new Set(models.map((row) => row.model_name))];
};

/** What may come next after `words`, the last of which is being typed. */
export const complete = async (
  program: Command,
  io: CliIo,
  words: readonly string[],
): Promise<readonly string[]> => {
  let command = program;
  for (const word of words.slice(0, -1)) {
    command = command.commands.find((one) => one.name() === word) ?? command;
  }
  const typed = words.at(-1) ?? "";
  const isVisible = (one: Command): boolean => !one.name().startsWith("__");
  if (typed.startsWith("-")) {
    return [...command.options.map((option) => option.long ?? option.short ?? ""), "--help"].filter((flag) =>
      flag.startsWith(typed),
    );
  }
  if (command.commands.length > 0) {
    return command.commands
      .filter(isVisible)
      .map((one) => one.name())
      .filter((name) => name.startsWith(typed));
  }
  const wants = command.registeredArguments[0]?.name();
  const fixed = command.registeredArguments[0]?.argChoices;
  if (fixed !== undefined) return fixed.filter((choice) => choice.startsWith(typed));
  if (wants !== "model" && wants !== "service") return [];
  return (await names(io, wants).catch(() => [])).filter((name) => name.startsWith(typed));
};

export const addCompletionCommands = (program: Command, io: CliIo): void => {
  program
    .command("completion")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(SCRIPTS)))
    .summary("print the script that completes commands in a shell")
    .description("Prints the script that completes commands, options and names in a shell.")
    .addHelpText(
      "after",
      `\nExamples:\n${Object.values(INSTALL)
        .map((line) => `  $ ${line}\n`)
        .join("")}`,
    )
    .action((shell: Shell) => {
      io.stdout.write(SCRIPTS[shell]);
    });
  program
    .command("__complete", { hidden: true })
    .argument("[words...]")
    .action(async (words: readonly string[]) => {
      const found = await complete(program, io, words);
      io.stdout.write(found.map((word) => `${word}\n`).join(""));
    });
};
