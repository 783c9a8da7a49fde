/** Archives of Python packages made on the spot: wheels (zip) and source distributions (tar.gz), byte for byte the same each time. */
import { crc32, gzipSync } from "node:zlib";

export type Contents = Readonly<Record<string, string | Uint8Array>>;

const bytesOf = (content: string | Uint8Array): Buffer => Buffer.from(content);
const DOS_DATE = 0x21;

/** A zip of stored entries (PKWARE APPNOTE 4.3). */
export const zip = (contents: Contents): Buffer => {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [path, content] of Object.entries(contents)) {
    const name = Buffer.from(path);
    const data = bytesOf(content);
    // Version, flags, method, time, date, checksum, both sizes, length of the name, of the extra field.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(DOS_DATE, 8);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, name, data]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(0o644 << 16, 6);
    tail.writeUInt32LE(at, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x03"), common, tail, name);
    parts.push(local);
    at += local.length;
  }
  const central = Buffer.concat(directory);
  const count = Object.keys(contents).length;
  const end = Buffer.alloc(18);
  end.writeUInt16LE(count, 4);
  end.writeUInt16LE(count, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(at, 12);
  return Buffer.concat([...parts, central, Buffer.from("PK\x05\x06"), end]);
};

/** A gzipped ustar archive. */
export const tarGz = (contents: Contents): Buffer => {
  const blocks: Buffer[] = [];
  for (const [path, content] of Object.entries(contents)) {
    const data = bytesOf(content);
    const header = Buffer.alloc(512);
    header.write(path, 0, 100);
    header.write("0000644\0" + "0000000\0".repeat(2), 100);
    header.write(`${data.length.toString(8).padStart(11, "0")}\0${"0".repeat(11)}\0${" ".repeat(8)}0`, 124);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(header, data, Buffer.alloc((512 - (data.length % 512)) % 512));
  }
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
};

/** A file as an index or a package's folder has it. */
export interface Artifact {
  readonly file: string;
  readonly project: string;
  readonly bytes: Buffer;
  /** METADATA; null for a source distribution, which has to be unpacked for it. */
  readonly metadata: string | null;
}

export interface Release {
  readonly name: string;
  readonly version: string;
  /** Requirement lines, `numpy<1.24`. */
  readonly requires?: readonly string[];
  readonly requiresPython?: string;
}

const metadataOf = ({ name, version, requires = [], requiresPython }: Release): string =>
  [
    "Metadata-Version: 2.1",
    `Name: ${name}`,
    `Version: ${version}`,
    ...(requiresPython === undefined ? [] : [`Requires-Python: ${requiresPython}`]),
    ...requires.map((line) => `Requires-Dist: ${line}`),
    "",
  ].join("\n");

const moduleOf = (name: string): string => name.toLowerCase().replaceAll(/[-.]/g, "_");

/** A wheel with one module that knows its VERSION, a script, `ballast` bytes that do not compress, and further `files`. */
export const wheel = (
  release: Release & { readonly tag?: string; readonly ballast?: number; readonly files?: Contents },
): Artifact => {
  const { name, version, tag = "py3-none-any", ballast = 0, files = {} } = release;
  const module = moduleOf(name);
  const info = `${module}-${version}.dist-info`;
  const metadata = metadataOf(release);
  const contents: Contents = {
    [`${module}.py`]: `VERSION = "${version}"\ndef main(): print(VERSION)\n`,
    ...(ballast === 0 ? {} : { [`${module}.bin`]: noise(ballast) }),
    ...files,
    [`${info}/METADATA`]: metadata,
    [`${info}/WHEEL`]: `Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: ${tag}\n`,
    [`${info}/entry_points.txt`]: `[console_scripts]\n${module}-tool = ${module}:main\n`,
  };
  const record = [...Object.keys(contents), `${info}/RECORD`].map((path) => `${path},,\n`).join("");
  return {
    file: `${module}-${version}-${tag}.whl`,
    project: name,
    bytes: zip({ ...contents, [`${info}/RECORD`]: record }),
    metadata,
  };
};

/** A source distribution that setuptools builds; `c`: the source of an extension module of its name; `setup`: its script. */
export const sdist = (release: Release & { readonly c?: string; readonly setup?: string }): Artifact => {
  const { name, version, c } = release;
  const module = moduleOf(name);
  const top = `${module}-${version}`;
  const modules =
    c === undefined
      ? `py_modules=["${module}"]`
      : `py_modules=[], ext_modules=[Extension("${module}", ["${module}.c"])]`;
  return {
    file: `${top}.tar.gz`,
    project: name,
    bytes: tarGz({
      [`${top}/PKG-INFO`]: metadataOf(release),
      [`${top}/setup.py`]:
        release.setup ??
        `from setuptools import Extension, setup\nsetup(name="${name}", version="${version}", install_requires=${JSON.stringify(release.requires ?? [])}, ${modules})\n`,
      [`${top}/${module}.${c === undefined ? "py" : "c"}`]: c ?? `VERSION = "${version}"\n`,
    }),
    metadata: null,
  };
};

/** A C extension that needs nothing but Python's headers. */
export const extensionSource = (module: string): string => `#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "${module}", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_${module}(void) {
  PyObject *made = PyModule_Create(&module);
  if (made != NULL) PyModule_AddStringConstant(made, "VERSION", "built");
  return made;
}
`;

/** The same bytes each time that no compression makes smaller. */
const noise = (length: number): Buffer => {
  const out = Buffer.alloc(length);
  let state = 0x9e3779b9;
  for (let at = 0; at < length; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[at] = state & 0xff;
  }
  return out;
};
