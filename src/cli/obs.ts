/** `modelport obs …`: objects of the project, copied between this machine and obs:// addresses. */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import type { Api } from "./api.ts";
import { addNoun, addVerb } from "./commands.ts";
import { CliError, usage } from "./failures.ts";
import { size, table, when } from "./format.ts";
import type { CliIo } from "./io.ts";
import type { Live } from "./live.ts";
import { bucketPath, isObsAddress, listObjects, objectPath, parseObsAddress } from "./obs-address.ts";
import type { ObsLocation } from "../core/obs-location.ts";
import type { Session } from "./session.ts";
import { readAll } from "./transport.ts";

interface Recursive {
  readonly recursive?: boolean;
}

interface Copied {
  readonly files: number;
  readonly bytes: number;
}

const needsRecursive = (what: string): CliError => usage(`${what} is a folder.`, "Copy it with `-r`.");

const put = async (api: Api, from: string, to: ObsLocation, length: number): Promise<void> => {
  const answer = await api.demand("PUT", objectPath(api, to), {
    headers: { "content-type": "application/octet-stream" },
    body: { stream: createReadStream(from), length },
    withinMs: null,
  });
  answer.resume();
};

const filesBelow = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();

const upload = async (
  api: Api,
  live: Live,
  from: string,
  to: ObsLocation,
  options: Recursive,
): Promise<Copied> => {
  if (from === "-")
    throw usage("Standard input cannot be copied without its length.", "Copy it from a file.");
  const found = await stat(from).catch((cause: unknown) => {
    throw new CliError("notFound", `${from} does not exist.`, { cause });
  });
  if (found.isDirectory() && !options.recursive) throw needsRecursive(from);
  await api.json("PUT", bucketPath(api, to.bucket));
  if (!found.isDirectory()) {
    const key = to.key === "" || to.key.endsWith("/") ? to.key + basename(from) : to.key;
    live.now(`uploading ${from}`);
    await put(api, from, { bucket: to.bucket, key }, found.size);
    return { files: 1, bytes: found.size };
  }
  // As `cp -r`: the folder's content goes below the address given.
  const prefix = to.key === "" || to.key.endsWith("/") ? to.key : `${to.key}/`;
  let bytes = 0;
  const files = await filesBelow(from);
  for (const [index, file] of files.entries()) {
    const { size: length } = await stat(file);
    live.now(`uploading ${file} (${index + 1} of ${files.length})`);
    const key = prefix + relative(from, file).split(sep).join("/");
    await put(api, file, { bucket: to.bucket, key }, length);
    bytes += length;
  }
  return { files: files.length, bytes };
};

const get = async (api: Api, from: ObsLocation, to: string): Promise<number> => {
  const answer = await api.demand("GET", objectPath(api, from), { withinMs: null });
  await mkdir(dirname(to), { recursive: true });
  const unfinished = `${to}.${process.pid}.part`;
  try {
    await pipeline(answer, createWriteStream(unfinished));
    await rename(unfinished, to);
  } finally {
    await rm(unfinished, { force: true });
  }
  return (await stat(to)).size;
};

const download = async (
  session: Session,
  api: Api,
  live: Live,
  from: ObsLocation,
  to: string,
  options: Recursive,
): Promise<Copied> => {
  if (to === "-") {
    const content = await readAll(await api.demand("GET", objectPath(api, from), { withinMs: null }));
    session.io.stdout.write(content);
    return { files: 1, bytes: content.byteLength };
  }
  if (!options.recursive) {
    if (from.key === "" || from.key.endsWith("/")) throw needsRecursive(`obs://${from.bucket}/${from.key}`);
    const intoFolder =
      to.endsWith("/") ||
      (await stat(to).then(
        (found) => found.isDirectory(),
        () => false,
      ));
    return { files: 1, bytes: await get(api, from, intoFolder ? join(to, basename(from.key)) : to) };
  }
  const prefix = from.key === "" || from.key.endsWith("/") ? from.key : `${from.key}/`;
  const { objects } = await listObjects(api, { bucket: from.bucket, key: prefix });
  if (objects.length === 0) {
    throw new CliError("notFound", `There is nothing below obs://${from.bucket}/${prefix}.`, {
      next: "`modelport obs ls` shows what there is.",
    });
  }
  const root = resolve(to);
  let bytes = 0;
  for (const [index, object] of objects.entries()) {
    const target = resolve(root, object.key.slice(prefix.length));
    // The platform refuses keys with `..`; another server's answer is not trusted to.
    if (!target.startsWith(root + sep))
      throw new CliError("failed", `The key ${object.key} leads out of ${to}.`);
    live.now(`downloading ${object.key} (${index + 1} of ${objects.length})`);
    bytes += await get(api, { bucket: from.bucket, key: object.key }, target);
  }
  return { files: objects.length, bytes };
};

const copy = async (session: Session, options: Recursive, from: string, to: string): Promise<void> => {
  if (isObsAddress(from) === isObsAddress(to)) {
    throw usage(
      "One of the two must be an obs:// address and the other a path.",
      "`modelport obs cp --help` has examples.",
    );
  }
  const api = await session.api();
  const live = session.live();
  try {
    const copied = isObsAddress(to)
      ? await upload(api, live, from, parseObsAddress(to), options)
      : await download(session, api, live, parseObsAddress(from), to, options);
    live.end();
    if (to === "-") return;
    session.answer(
      copied,
      () => `${copied.files} file${copied.files === 1 ? "" : "s"} copied (${size(copied.bytes)}).\n`,
    );
  } finally {
    live.end();
  }
};

const list = async (session: Session, options: Recursive, address: string | undefined): Promise<void> => {
  const api = await session.api();
  const now = session.io.clock.now();
  const time = (value: number | string): string => when(new Date(value).getTime(), now);
  if (address === undefined) {
    const { buckets } = await api.get<{ buckets: readonly { name: string; created_at: number | string }[] }>(
      api.inProject("/buckets"),
    );
    session.answer({ count: buckets.length, buckets }, () =>
      buckets.length === 0
        ? "There are no buckets yet. `modelport obs cp` makes them as needed.\n"
        : table(
            ["BUCKET", "CREATED"],
            buckets.map((bucket) => [`obs://${bucket.name}`, time(bucket.created_at)]),
            session.columns,
            session.paint,
          ),
    );
    return;
  }
  const at = parseObsAddress(address);
  const found = await listObjects(api, at, options.recursive ? undefined : "/");
  session.answer({ count: found.objects.length, ...found }, () =>
    found.objects.length + found.prefixes.length === 0
      ? `There is nothing below ${address}.\n`
      : table(
          ["SIZE", "CHANGED", "OBJECT"],
          [
            ...found.prefixes.map((prefix) => ["-", "-", `obs://${at.bucket}/${prefix}`]),
            ...found.objects.map((object) => [
              size(object.size),
              time(object.modified_at),
              `obs://${at.bucket}/${object.key}`,
            ]),
          ],
          session.columns,
          session.paint,
        ),
  );
};

const remove = async (session: Session, options: Recursive, address: string): Promise<void> => {
  const at = parseObsAddress(address);
  const api = await session.api();
  if (!options.recursive) {
    if (at.key === "" || at.key.endsWith("/")) throw usage(`${address} is a folder.`, "Delete it with `-r`.");
    await api.json("DELETE", objectPath(api, at));
    session.answer({ deleted: 1 }, () => `${address} is deleted.\n`);
    return;
  }
  // A name without a slash at its end still means a folder: `-r obs://b/a` must not take `obs://b/ab` along.
  const prefix = at.key === "" || at.key.endsWith("/") ? at.key : `${at.key}/`;
  const { objects } = await listObjects(api, { bucket: at.bucket, key: prefix });
  for (const object of objects)
    await api.json("DELETE", objectPath(api, { bucket: at.bucket, key: object.key }));
  if (at.key === "") await api.json("DELETE", bucketPath(api, at.bucket));
  session.answer(
    { deleted: objects.length },
    () =>
      `${objects.length} object${objects.length === 1 ? "" : "s"} deleted${at.key === "" ? " with the bucket" : ""}.\n`,
  );
};

export const addObsCommands = (program: Command, io: CliIo): void => {
  const obs = addNoun(program, "obs", "objects: copy files to and from obs:// addresses");
  const recursive = (command: Command): Command =>
    command.option("-r, --recursive", "the folder with everything below it");
  addVerb<Recursive>(obs, io, {
    usage: "cp <from> <to>",
    summary:
      "copy between this machine and obs:// (the bucket is made if needed; - writes to standard output)",
    examples: [
      "obs cp -r ./iris obs://my-bucket/packages/iris",
      "obs cp obs://my-bucket/packages/iris/model/config.json -",
      "obs cp -r obs://my-bucket/packages/iris ./copy",
    ],
    options: recursive,
    run: copy,
  });
  addVerb<Recursive>(obs, io, {
    usage: "ls [address]",
    summary: "list buckets, or the objects below an address",
    examples: ["obs ls", "obs ls obs://my-bucket/packages/", "obs ls -r obs://my-bucket --json"],
    options: recursive,
    run: list,
  });
  addVerb<Recursive>(obs, io, {
    usage: "rm <address>",
    summary: "delete an object, or with -r everything below an address",
    examples: ["obs rm obs://my-bucket/old.json", "obs rm -r obs://my-bucket/packages/iris"],
    options: recursive,
    run: remove,
  });
};
