/**
 * Where the folder `model` of a source may be: in it, the source itself, or in what a training job wrote, whose runs leave
 * V001, V002, … below its `train_url` with a folder `model` in each (guide, table 2-6). Pure; keys are those of objects.
 */

export interface ModelFolders {
  /** The first that holds something is taken. */
  readonly direct: readonly string[];
  /** The run that alone may be taken instead of the source itself; null: the newest that has a model counts. */
  readonly run: string | null;
  /** Keys of runs begin with this. */
  readonly runsPrefix: string;
  readonly ofRun: (run: string) => string;
}

const join = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join("/");

/**
 * `run` (`V002`) picks one run of a training job. Of a source that is that run, or holds the folder itself, it tells only
 * where that came from.
 */
export const modelFolders = (key: string, run: string | null): ModelFolders => {
  const source = key.replace(/\/+$/, "");
  const ofRun = (name: string): string => join(source, name, "model");
  const itself = [join(source, "model"), ...(/(?:^|\/)model$/.test(source) ? [source] : [])];
  const isBelow = run !== null && !new RegExp(`(?:^|/)${RegExp.escape(run)}(?:/model)?$`).test(source);
  return {
    direct: isBelow ? [ofRun(run), ...itself] : itself,
    run: isBelow ? run : null,
    runsPrefix: join(source, "V"),
    ofRun,
  };
};

/** The names of the runs among the keys below a `runsPrefix`, one level of them; the newest first. */
export const runsOf = (prefixes: readonly string[]): readonly string[] =>
  prefixes
    .flatMap((prefix) => /(?:^|\/)(V\d{1,9})\/$/.exec(prefix)?.[1] ?? [])
    .toSorted((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
