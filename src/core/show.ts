/** How a value that was found is quoted in a sentence to users. */

/** Short enough for a sentence: `"abc"`, `a list of 3`, `an object`, `nothing`. */
export const show = (value: unknown): string => {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};
