/**
 * The first start: a domain, a project, an administrator and an AK/SK, in one transaction. What cannot be read back
 * later (password, SK) is returned this once; the composition root writes it into the CLI's profile.
 */
import { randomBytes, randomUUID } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { hex32 } from "../core/ids.ts";
import type { DomainId, ProjectId, UserId } from "../core/ids.ts";
import type { Store } from "../store/store.ts";
import { hashPassword } from "./passwords.ts";
import { seal } from "./secrets.ts";

export interface FirstCredentials {
  readonly domain: { readonly id: DomainId; readonly name: string };
  readonly project: { readonly id: ProjectId; readonly name: string };
  readonly user: { readonly id: UserId; readonly name: string; readonly password: string };
  readonly accessKey: { readonly access: string; readonly secret: string };
}

const NAMES = { domain: "modelport", project: "default", user: "admin" };

/** What a sealed SK is bound to; a value copied to another access key cannot be opened. */
export const accessKeyContext = (access: string): string => `access-key:${access}`;

const AK_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/**
 * Creates the first identity; null when the platform already has one. `keep` gets the credentials before they become
 * valid: a process that dies in between leaves a profile that does not work yet, and the next start makes another,
 * never a platform whose only password nobody knows.
 */
export const bootstrapIdentity = async (deps: {
  store: Store;
  clock: Clock;
  masterKey: Buffer;
  keep?: (credentials: FirstCredentials) => Promise<void>;
}): Promise<FirstCredentials | null> => {
  if ((await deps.store.identity.domainByName(NAMES.domain)) !== null) return null;
  const createdAt = deps.clock.now();
  const password = randomBytes(18).toString("base64url");
  const access = Array.from(randomBytes(20), (byte) => AK_ALPHABET.charAt(byte % 32)).join("");
  const secret = randomBytes(30).toString("base64url");
  const domain = { id: hex32<DomainId>(randomUUID()), name: NAMES.domain };
  const project = { id: hex32<ProjectId>(randomUUID()), domainId: domain.id, name: NAMES.project };
  const user = {
    id: hex32<UserId>(randomUUID()),
    domainId: domain.id,
    name: NAMES.user,
    passwordHash: await hashPassword(password),
    admin: true,
    enabled: true,
    description: "Created at the first start",
    createdAt,
    refusedBefore: null,
  };
  const accessKey = {
    access,
    userId: user.id,
    secretSealed: seal(deps.masterKey, secret, accessKeyContext(access)),
    createdAt,
  };
  const credentials: FirstCredentials = {
    domain,
    project: { id: project.id, name: project.name },
    user: { id: user.id, name: user.name, password },
    accessKey: { access, secret },
  };
  await deps.keep?.(credentials);
  const isFirst = await deps.store.identity.bootstrap({ domain, project, user, accessKey });
  return isFirst ? credentials : null;
};
