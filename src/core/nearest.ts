/** Finds the name a misspelt word was probably meant to be, for the "what would be right" of problems. */

const letters = (word: string): string => word.toLowerCase().replaceAll(/[^a-z0-9]/g, "");

/** Levenshtein distance of two short words. */
const distance = (a: string, b: string): number => {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 0; i < a.length; i += 1) {
    const current = [i + 1];
    for (let j = 0; j < b.length; j += 1) {
      const replaced = (previous[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      current.push(Math.min(replaced, (previous[j + 1] ?? 0) + 1, (current[j] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
};

/** The candidate that differs least, case and punctuation aside; null when none is close. */
export const nearest = <T extends string>(word: string, candidates: readonly T[]): T | null => {
  const wanted = letters(word.slice(0, 64));
  if (wanted === "") return null;
  let best: { name: T; distance: number } | null = null;
  for (const name of candidates) {
    const found = distance(wanted, letters(name));
    if (best === null || found < best.distance) best = { name, distance: found };
  }
  return best !== null && best.distance <= Math.min(3, Math.max(1, Math.round(wanted.length * 0.4)))
    ? best.name
    : null;
};
