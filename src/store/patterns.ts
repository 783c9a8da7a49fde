/**
 * Text filters that mean the same on both databases: substring, case-insensitive for ASCII, everything literal except
 * where `_` is asked to be a wildcard.
 */
import { sql } from "kysely";
import type { RawBuilder, SqlBool } from "kysely";

/** `column` contains `text`. With `underscore: "any"`, `_` in the text stands for any one character. */
export const contains = (
  column: string,
  text: string,
  options: { underscore: "literal" | "any" } = { underscore: "literal" },
): RawBuilder<SqlBool> => {
  const special = options.underscore === "any" ? /[\\%]/g : /[\\%_]/g;
  // Only ASCII is folded: lower() folds no more on byte-ordered columns, on either database.
  const folded = text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const pattern = `%${folded.replace(special, (character) => `\\${character}`)}%`;
  return sql<SqlBool>`lower(${sql.ref(column)}) like ${pattern} escape '\\'`;
};
