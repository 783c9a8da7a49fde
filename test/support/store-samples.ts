/** Rows for tests of the store and of what is built on it: valid, unique, with what matters overridden. */
import { randomUUID } from "node:crypto";
import { hex32, instant } from "../../src/core/ids.ts";
import type { DomainId, GroupId, ModelId, ProjectId, ServiceId, UserId } from "../../src/core/ids.ts";
import type { Model } from "../../src/core/model.ts";
import type { RevisionEntry, Service } from "../../src/core/service.ts";
import type { AccessKey, Domain, Project, User } from "../../src/store/store.ts";

export const PROJECT = "a".repeat(32) as ProjectId;
export const OTHER_PROJECT = "b".repeat(32) as ProjectId;
const DOMAIN = "d".repeat(32) as DomainId;
const OWNER = "e".repeat(32) as UserId;
const NOW = instant(1_700_000_000_000);

export const sampleModel = (more: Partial<Model> = {}): Model => {
  const id = randomUUID() as ModelId;
  return {
    id,
    projectId: PROJECT,
    domainId: DOMAIN,
    ownerId: OWNER,
    workspaceId: "0",
    name: `m-${id}`,
    version: "1.0.0",
    type: "Scikit_Learn",
    description: "",
    installTypes: ["real-time"],
    sourceLocation: "obs://models/iris",
    request: { model_name: "m" },
    status: "publishing",
    failure: null,
    published: null,
    createdAt: NOW,
    ...more,
  };
};

export const sampleService = (more: Partial<Service> = {}): Service => {
  const id = randomUUID() as ServiceId;
  return {
    id,
    projectId: PROJECT,
    domainId: DOMAIN,
    ownerId: OWNER,
    workspaceId: "0",
    name: `s-${id}`,
    description: "",
    inferType: "real-time",
    desired: "running",
    revision: 1,
    servingRevision: null,
    generation: 1,
    status: "deploying",
    progress: 0,
    errorMessage: null,
    schedule: [],
    dueAt: null,
    additionalProperties: {},
    publishAt: NOW,
    updateAt: NOW,
    transitionAt: NOW,
    operationAt: NOW,
    invocationTimes: 0,
    failedTimes: 0,
    ...more,
  };
};

export const sampleEntry = (model: Model, more: Partial<RevisionEntry> = {}): RevisionEntry => ({
  modelId: model.id,
  weight: 100,
  specification: "modelarts.vm.cpu.2u",
  customSpec: null,
  instanceCount: 1,
  envs: {},
  deployTimeout: null,
  maxSurge: 1,
  maxUnavailable: 0,
  terminationGracePeriodSeconds: 30,
  groupId: randomUUID() as GroupId,
  modelName: model.name,
  modelVersion: model.version,
  ...more,
});

export const sampleIdentity = (): { domain: Domain; project: Project; user: User; accessKey: AccessKey } => {
  const domain: Domain = { id: hex32<DomainId>(randomUUID()), name: `domain-${randomUUID()}` };
  const user = sampleUser(domain, { admin: true });
  return {
    domain,
    project: { id: hex32<ProjectId>(randomUUID()), domainId: domain.id, name: "local" },
    user,
    accessKey: { access: randomUUID(), userId: user.id, secretSealed: "c2VhbGVk", createdAt: NOW },
  };
};

export const sampleUser = (domain: Domain, more: Partial<User> = {}): User => ({
  id: hex32<UserId>(randomUUID()),
  domainId: domain.id,
  name: `user-${randomUUID()}`,
  passwordHash: "hash",
  admin: false,
  enabled: true,
  description: "",
  createdAt: NOW,
  refusedBefore: null,
  ...more,
});
