/**
 * The CLI profile: which platform, as whom, in which project. Written by control at first start (then with the
 * administrator's password, so the CLI can renew its token) and by `modelport login` (then with a token only).
 */
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CliError } from "./failures.ts";

export interface Profile {
  readonly endpoint: string;
  /** The certificate of a platform on this machine, which may have been made on it and be known to nobody else. */
  readonly certificateFile?: string;
  readonly domain: string;
  readonly user: string;
  readonly project: { readonly id: string; readonly name: string };
  readonly password?: string;
  readonly token?: string;
  /** Epoch ms. */
  readonly expiresAt?: number;
}

const filled = (value: unknown): value is string => typeof value === "string" && value !== "";

const parse = (path: string, content: string): Profile => {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(content) as Record<string, unknown>;
  } catch (cause) {
    throw new CliError("auth", `The profile ${path} is not valid JSON.`, {
      next: "Write a new one with `modelport login`.",
      cause,
    });
  }
  const project = (value["project"] ?? {}) as Record<string, unknown>;
  const { endpoint, certificateFile, domain, user, password, token, expiresAt } = value;
  if (
    !(
      filled(endpoint) &&
      URL.canParse(endpoint) &&
      filled(domain) &&
      filled(user) &&
      filled(project["id"]) &&
      filled(project["name"])
    )
  ) {
    throw new CliError("auth", `The profile ${path} is not complete.`, {
      next: "Write a new one with `modelport login`.",
    });
  }
  const expires = typeof expiresAt === "string" ? Date.parse(expiresAt) : expiresAt;
  return {
    endpoint,
    ...(filled(certificateFile) ? { certificateFile } : {}),
    domain,
    user,
    project: { id: project["id"], name: project["name"] },
    ...(filled(password) ? { password } : {}),
    ...(filled(token) ? { token } : {}),
    ...(typeof expires === "number" && Number.isFinite(expires) ? { expiresAt: expires } : {}),
  };
};

/** Null when there is none. */
export const findProfile = async (path: string): Promise<Profile | null> => {
  try {
    return parse(path, await readFile(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
};

export const loadProfile = async (path: string): Promise<Profile> => {
  const profile = await findProfile(path);
  if (profile !== null) return profile;
  throw new CliError("auth", "You are not logged in to any platform.", {
    next: "Start one here with `modelport up`, or log in to one with `modelport login --endpoint URL`.",
  });
};

/** Writes the profile so that it is whole or not there, and readable by its owner only. */
export const saveProfile = async (path: string, profile: Profile): Promise<void> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const unfinished = `${path}.${process.pid}.new`;
  try {
    await writeFile(unfinished, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 });
    await chmod(unfinished, 0o600);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
};

/** Where the administrator's profile goes when someone else logs in over it: its password exists nowhere else. */
export const administratorPath = (path: string): string => path.replace(/(\.json)?$/, ".administrator.json");
