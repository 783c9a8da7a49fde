/** What an install has to download, in words. Pure. */

const UNITS = ["bytes", "kB", "MB", "GB"] as const;
/** Less is not worth a word: it is there before it is read. */
const WORTH_A_WORD = 1_000_000;
const LARGEST = 3;

export const totalOf = (sizes: ReadonlyMap<string, number>): number =>
  [...sizes.values()].reduce((total, size) => total + size, 0);

/** `2.9 GB`, `54 MB`: powers of ten, as download pages count. */
export const inWords = (bytes: number): string => {
  const power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const value = bytes / 1000 ** power;
  return `${value >= 10 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
};

/** `downloading up to 2.9 GB (torch 906 MB, …)`; null where it is little or not known. `count`: packages of the set. */
export const downloadLine = (sizes: ReadonlyMap<string, number>, count: number): string | null => {
  const total = totalOf(sizes);
  if (total < WORTH_A_WORD) return null;
  const largest = [...sizes]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, LARGEST)
    .map(([name, size]) => `${name} ${inWords(size)}`);
  const unknown = count - sizes.size;
  const more = unknown > 0 ? `, and ${unknown} more of unknown size` : "";
  return `downloading ${inWords(total)} at most (${largest.join(", ")}${sizes.size > LARGEST ? ", …" : ""}${more}), less what was downloaded before`;
};
