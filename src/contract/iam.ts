/** Schemas of the identity API, `/v3` (contracts/modelarts.md §5): password tokens, projects, domains and users. */
import { z } from "zod";

const reference = z.object({ id: z.string().max(64).optional(), name: z.string().max(64).optional() });

const text = z.string().min(1).max(64);

/** Body of POST /v3/auth/tokens; the password method only. */
export const tokenRequest = z.object({
  auth: z.object({
    identity: z.object({
      methods: z
        .array(z.string())
        .refine((m) => m.length === 1 && m[0] === "password", { message: '["password"]' }),
      password: z.object({
        user: z
          .object({
            id: text.optional(),
            name: text.optional(),
            password: z.string().min(1).max(512),
            domain: reference.optional(),
          })
          .refine((u) => u.id !== undefined || (u.name !== undefined && u.domain !== undefined), {
            message: "id, or name together with domain",
          }),
      }),
    }),
    scope: z
      .object({
        project: z
          .object({ id: text.optional(), name: text.optional(), domain: reference.optional() })
          .refine((p) => p.id !== undefined || p.name !== undefined, { message: "id or name of the project" })
          .optional(),
        domain: reference.optional(),
      })
      .optional(),
  }),
});

const named = z.object({ id: z.string(), name: z.string() });
const inDomain = z.object({ id: z.string(), name: z.string(), domain: named });

export const tokenAnswer = z.object({
  token: z.object({
    methods: z.array(z.string()),
    issued_at: z.string(),
    expires_at: z.string(),
    project: inDomain.optional(),
    domain: named.optional(),
    user: z.object({ id: z.string(), name: z.string(), domain: named, password_expires_at: z.string() }),
    roles: z.array(named),
    catalog: z
      .array(
        z.object({
          id: z.string(),
          name: z.string(),
          type: z.string(),
          endpoints: z.array(
            z.object({
              id: z.string(),
              interface: z.string(),
              region: z.string(),
              region_id: z.string(),
              url: z.string(),
            }),
          ),
        }),
      )
      .optional(),
  }),
});

const links = z.object({ self: z.string(), next: z.null().optional(), previous: z.null().optional() });

const project = z.object({
  id: z.string(),
  name: z.string(),
  domain_id: z.string(),
  enabled: z.boolean(),
  is_domain: z.boolean(),
  parent_id: z.string(),
  description: z.string(),
  links,
});

export const projectsAnswer = z.object({ links, projects: z.array(project) });
export const projectAnswer = z.object({ project });

export const createProject = z.object({
  project: z.object({
    name: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, "1 to 64 letters, digits, hyphens or underscores"),
  }),
});

export const domainsAnswer = z.object({
  links,
  domains: z.array(
    z.object({ id: z.string(), name: z.string(), enabled: z.boolean(), description: z.string(), links }),
  ),
});

const user = z.object({
  id: z.string(),
  name: z.string(),
  domain_id: z.string(),
  enabled: z.boolean(),
  description: z.string(),
  password_expires_at: z.null(),
  pwd_status: z.boolean(),
  create_time: z.number(),
  /** Additive. */
  is_admin: z.boolean(),
  links,
});

export const usersAnswer = z.object({ links, users: z.array(user) });
export const userAnswer = z.object({ user });

const userName = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9 _.-]{0,63}$/,
    "1 to 64 letters, digits, spaces, _ . -, not starting with a digit",
  );
const password = z.string().min(8, "8 to 128 characters").max(128, "8 to 128 characters");
const userDescription = z.string().max(255);

export const createUser = z.object({
  user: z.object({
    name: userName,
    password,
    enabled: z.boolean().optional(),
    description: userDescription.optional(),
    domain_id: z.string().max(64).optional(),
    /** Additive: may this user manage users and projects? */
    is_admin: z.boolean().optional(),
  }),
});

export const updateUser = z.object({
  user: z.object({
    name: userName.optional(),
    password: password.optional(),
    enabled: z.boolean().optional(),
    description: userDescription.optional(),
  }),
});

/** Answers without a body. */
export const noContent = z.null().meta({ description: "Done" });

export const iamError = z.object({
  error: z.looseObject({ code: z.number(), message: z.string(), title: z.string() }),
});
