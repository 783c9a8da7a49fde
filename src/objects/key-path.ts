/**
 * Keys as paths of a directory tree, one to one, whatever the file system thinks of names.
 *
 *   - Every byte except a-z, 0-9, `_`, `-` and `.` is written `%xx`: nothing depends on case, on Unicode normal forms or on
 *     characters that are special to some system, and no name can be `..`.
 *   - Every entry ends in what it is: `.o` an object, `.d` a segment that has keys below it, so `a` (a.o) and `a/b`
 *     (a.d/b.o) live side by side, and nothing else in the tree can be taken for an object.
 *   - File names end at 255 bytes, segments at 1024: each full CHUNK bytes of a segment become a directory `….c`, and the
 *     rest, which may be empty, goes into it. Cutting at a fixed number of bytes, also when nothing is left over, keeps
 *     all keys below a directory together in byte order, which listing in order relies on.
 */

/** Bytes of a segment per file name: at most 180 characters and a suffix. */
const CHUNK = 60;
const KEY_BYTES_MAX = 1024;

/** Why a key is refused, in words; null when it is a good one. */
export const keyProblem = (key: string): string | null => {
  if (key === "") return "it is empty";
  if (!key.isWellFormed()) return "it is not valid Unicode";
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) return `it is longer than ${KEY_BYTES_MAX} bytes`;
  if (key.includes("\0")) return "it contains a NUL character";
  if (key.includes("\\")) return "it contains a backslash";
  if (key.startsWith("/")) return "it starts with a slash";
  for (const segment of key.split("/")) {
    if (segment === "") return "it has an empty part between slashes or after the last one";
    if (segment === "." || segment === "..") return `it has a part "${segment}"`;
  }
  return null;
};

/** The path of a key's object, as names from the bucket's directory down. The key must be a good one. */
export const objectPath = (key: string): readonly string[] => {
  const segments = key.split("/");
  const last = segments.pop() ?? "";
  return [...folderPath(segments), ...segmentPath(last, ".o")];
};

/** The directories that hold everything below these whole segments. */
export const folderPath = (segments: readonly string[]): readonly string[] =>
  segments.flatMap((segment) => segmentPath(segment, ".d"));

const segmentPath = (segment: string, suffix: ".o" | ".d"): readonly string[] => {
  const bytes = Buffer.from(segment);
  const names: string[] = [];
  let at = 0;
  for (; bytes.length - at >= CHUNK; at += CHUNK) names.push(`${encode(bytes.subarray(at, at + CHUNK))}.c`);
  names.push(`${encode(bytes.subarray(at))}${suffix}`);
  return names;
};

export interface TreeEntry {
  readonly kind: "object" | "folder" | "chunk";
  /** The bytes this entry adds to the key; a folder's include its slash. */
  readonly bytes: Buffer;
}

/** What a name in the tree stands for; null for a name this scheme does not make. */
export const parseEntry = (name: string): TreeEntry | null => {
  const bytes = decode(name.slice(0, -2));
  if (bytes === null) return null;
  switch (name.slice(-2)) {
    case ".o":
      return { kind: "object", bytes };
    case ".d":
      return { kind: "folder", bytes: Buffer.concat([bytes, SLASH]) };
    case ".c":
      return { kind: "chunk", bytes };
    default:
      return null;
  }
};

const SLASH = Buffer.from("/");

const encode = (bytes: Buffer): string => {
  let name = "";
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    name += /[a-z0-9_.-]/.test(character) ? character : `%${byte.toString(16).padStart(2, "0")}`;
  }
  return name;
};

const decode = (name: string): Buffer | null => {
  if (!/^(?:[a-z0-9_.-]|%[0-9a-f]{2})*$/.test(name)) return null;
  const bytes = Buffer.from(
    name.replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  );
  // Only the one spelling that encode makes; `%61` is not a second name of `a`.
  return encode(bytes) === name ? bytes : null;
};
