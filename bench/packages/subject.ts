/** What a bench of packages consists of: one model, and the servers that serve it. */

/** A request as it goes over the wire. */
export interface PredictRequest {
  readonly contentType: string;
  readonly body: Buffer;
}

interface Named {
  readonly name: string;
  readonly path: string;
  /** Different ones, sent in turn. */
  readonly requests: readonly PredictRequest[];
}

/** Our own modelserver, alone or with a gateway before it. */
export interface Ours extends Named {
  readonly batching: "auto" | "off";
  readonly gateway: boolean;
}

export interface Peer extends Named {
  /** The command that listens on the port; it is also told in the variable PORT, and the model's file in MODEL. */
  readonly command: (port: number) => readonly string[];
}

export type Server = Ours | Peer;

/** What an instance's launch spec says of the package. */
export interface PackageSpec {
  readonly engine: string;
  readonly modelName: string;
  readonly modelFile: string;
  readonly python: string;
}

export interface Subject {
  /** What a request carries. */
  readonly request: string;
  readonly servers: readonly Server[];
  /** Folder of the peers' programs. */
  readonly programs: string;
  /** Folders of modules they share. */
  readonly modules: readonly string[];
  /** Puts the package around the model into a folder. */
  readonly writePackage: (dir: string) => PackageSpec;
}

/** A program of one of the environments that setup.ts makes below `peers`. */
export type ProgramOf = (environment: string, program: string) => string;

export const ours = (requests: readonly PredictRequest[]): readonly Ours[] => [
  { name: "Modelport, batching auto", path: "/", requests, batching: "auto", gateway: false },
  { name: "Modelport, batching off", path: "/", requests, batching: "off", gateway: false },
  { name: "Modelport, through the gateway", path: "/", requests, batching: "auto", gateway: true },
];

export const uvicorn = (program: string, port: number): readonly string[] => [
  program,
  "fastapi_app:app",
  "--port",
  `${port}`,
  "--no-access-log",
  "--log-level",
  "warning",
];
