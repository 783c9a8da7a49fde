/**
 * Identifiers and instants. An id's brand says what it names, so a service id cannot be passed where a model id
 * is wanted. Generation needs randomness and lives with the callers (`crypto.randomUUID`); this file only types,
 * parses and derives. Shapes are the clouds' own (contracts/modelarts.md §0): model and service ids are 36-character
 * UUIDs, project, domain and user ids 32 lower-case hex digits.
 */
declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

export type DomainId = Brand<string, "domain">;
export type ProjectId = Brand<string, "project">;
export type UserId = Brand<string, "user">;
export type ModelId = Brand<string, "model">;
export type ServiceId = Brand<string, "service">;
/** One start configuration of one version of one service; see core/service.ts. */
export type GroupId = Brand<string, "group">;
/** One running copy. `${GroupId}-${n}`; never reused within a group. */
export type InstanceId = Brand<string, "instance">;
/** Milliseconds since the epoch. */
export type Instant = Brand<number, "epochMs">;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export const isUuid = (text: string): boolean => UUID.test(text);
export const instant = (epochMs: number): Instant => epochMs as Instant;
/** Turns a random UUID into the 32-hex form of project, domain and user ids. */
export const hex32 = <T extends DomainId | ProjectId | UserId>(uuid: string): T =>
  uuid.replaceAll("-", "") as T;
