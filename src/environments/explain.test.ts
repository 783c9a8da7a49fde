/** What uv 0.13, compilers and build backends write, and the sentence it becomes. */
import { expect, test } from "vitest";
import { explainFailure } from "./explain.ts";

const ASKED = {
  lines: ["Cfast==1.0", "web", "priv-1.0-cp311-cp311-win_amd64.whl", "numpy<1.24"],
  neededBy: new Map([
    ["deep", ["middle"]],
    ["middle", ["web"]],
  ]),
};
const NO_CC =
  "Dependency Cfast==1.0 cannot be installed: it is published as source only, with parts in C, and this machine has no compiler";

test.each([
  [
    "error: Failed to install: numpy-1.2-cp311.whl (numpy==1.2)\n  cause: No space left on device (os error 28)",
    "disk",
    "The disk that holds the environments is full: free some space, or delete AI applications that are not used, and import again (it was full at numpy<1.24).",
  ],
  [
    "error: Failed to build `cfast==1.0`\n  cause: The build backend returned an error\n  error: command 'gcc' failed: No such file or directory",
    "package",
    `${NO_CC} (gcc);`,
  ],
  [
    "error: Failed to build `cfast==1.0`\n  cause: The build backend returned an error\n         [stderr]\n         error: [Errno 2] No such file or directory: '/usr/bin/x86_64-linux-gnu-gcc-12'\n",
    "package",
    `${NO_CC} (/usr/bin/x86_64-linux-gnu-gcc-12);`,
  ],
  [
    "error: Failed to build `cfast==1.0`\n  unable to execute 'gcc': No such file or directory\n  error: command 'gcc' failed with exit status 1",
    "package",
    `${NO_CC} (gcc);`,
  ],
  [
    "error: Failed to build `cfast==1.0`\n  x.c:1:10: fatal error: Python.h: No such file or directory\nerror: command '/usr/bin/gcc' failed with exit code 1",
    "package",
    "has no headers of Python (Python.h)",
  ],
  [
    "error: Failed to build `cfast==1.0`\n  ValueError: broken\n",
    "package",
    "Dependency Cfast==1.0 cannot be installed: it could not be built from its source: ValueError: broken.",
  ],
  [
    "error: Failed to download and build `cfast==1.0`\n  cause: Failed to resolve requirements from `setup.py` build\n  cause: No solution found when resolving: `setuptools>=40.8.0`\n  cause: Because setuptools was not found in the package registry and you require setuptools>=40.8.0, we can conclude that your requirements are unsatisfiable.",
    "package",
    "the package index has not setuptools, which it is built with;",
  ],
  [
    "error: Failed to download and build `cfast==1.0`\n  cause: Failed to fetch: http://index/files/cfast-1.0.tar.gz\n  cause: HTTP status server error (503 Service Unavailable) for url (http://index/files/cfast-1.0.tar.gz)",
    "index",
    "The package index answers HTTP 503 Service Unavailable for Cfast==1.0:",
  ],
  [
    "error: Failed to build `deep==2.0`\n  ValueError: broken\n",
    "package",
    "Dependency deep==2.0 (needed by web) cannot be installed",
  ],
  [
    "error: Failed to build `cfast==1.0`\n  cfast.c:9: error: unexpected end of file\n",
    "package",
    "could not be built from its source: cfast.c:9: error: unexpected end of file.",
  ],
  [
    "error: Failed to download `deep==2.0`\n  cause: Failed to write to the distribution cache\n  cause: error decoding response body\n  cause: end of file before message length reached",
    "index",
    "The package index broke off in the middle of deep==2.0 (needed by web): try again later",
  ],
  [
    "error: Failed to download `cfast==1.0`\n  cause: Failed to extract archive: cfast-1.0-py3-none-any.whl\n  cause: I/O operation failed during extraction\n  cause: Failed to download distribution due to network timeout. Try increasing UV_HTTP_TIMEOUT (current value: 30s).",
    "index",
    "The package index does not answer in time for Cfast==1.0:",
  ],
  [
    "error: Request failed after 3 retries in 10.3s\n  cause: Failed to fetch: http://user:****@index/simple/numpy/\n  cause: HTTP status server error (503 Service Unavailable) for url (http://index/simple/numpy/)",
    "index",
    "The package index answers HTTP 503 Service Unavailable for numpy<1.24:",
  ],
  [
    "error: Failed to fetch: http://index/simple/numpy/\n  cause: HTTP status client error (407 Proxy Authentication Required) for url (http://index/simple/numpy/)",
    "index",
    "The package index answers HTTP 407 Proxy Authentication Required for numpy<1.24: check PIP_INDEX_URL with its user and password, and the proxy (HTTPS_PROXY).",
  ],
  [
    "error: Request failed after 3 retries in 5.0s\n  cause: Failed to fetch: http://index/simple/numpy/\n  cause: error sending request for url (http://index/simple/numpy/)\n  cause: client error (Connect)\n  cause: tcp connect error\n  cause: Connection refused (os error 111)",
    "index",
    "The package index cannot be reached for numpy<1.24:",
  ],
  [
    "error: Failed to download `cfast==1.0`\n  cause: Failed to fetch: http://index/files/cfast-1.0-py3-none-any.whl\n  cause: HTTP status client error (404 Not Found) for url (http://index/files/cfast-1.0-py3-none-any.whl)",
    "package",
    "Dependency Cfast==1.0 cannot be installed: the package index lists it but has not its file (HTTP 404 Not Found).",
  ],
  [
    "error: Failed to download `cfast==1.0`\n  cause: Hash mismatch for `cfast==1.0`\n         Expected:\n           sha256:00\n",
    "package",
    "Dependency Cfast==1.0 cannot be installed: its file is not the one the package index promises (the SHA-256 differs).",
  ],
  [
    "error: Failed to determine installation plan\n  cause: A path (w/priv-1.0-cp311-cp311-win_amd64.whl) dependency is incompatible with the current platform\nhint: The wheel is compatible with Windows (`win_amd64`), but you're on Linux (`manylinux_2_36_x86_64`)",
    "package",
    "Dependency priv-1.0-cp311-cp311-win_amd64.whl cannot be installed: it is a wheel for win_amd64, and what runs here needs manylinux_2_36_x86_64.",
  ],
  [
    "error: Failed to read `priv @ file:///w/priv-1.0-cp311-cp311-win_amd64.whl`\n  cause: Failed to read metadata: /w/priv-1.0-cp311-cp311-win_amd64.whl\n  cause: Failed to read from zip file\n  cause: unable to locate the end of central directory record",
    "package",
    "Dependency priv-1.0-cp311-cp311-win_amd64.whl cannot be installed: its file is damaged or is no wheel (unable to locate the end of central directory record).",
  ],
] as const)(
  "says in one sentence, by the requirement's name, why an install failed (%#)",
  (log, kind, expected) => {
    const said = explainFailure(log, ASKED);
    expect(said?.kind).toBe(kind);
    expect(said?.sentence).toContain(expected);
    expect(said?.sentence).not.toMatch(/https?:|\*\*\*\*|\. [A-Z]/);
  },
);

test("asks again only where the index may answer a little later", () => {
  const fetched = (cause: string) =>
    explainFailure(`error: Failed to fetch: http://index/simple/web/\n  cause: ${cause}`, ASKED)?.mayPass;
  expect(fetched("HTTP status server error (502 Bad Gateway) for url (http://index/)")).toBe(true);
  expect(fetched("HTTP status client error (429 Too Many Requests) for url (http://index/)")).toBe(true);
  expect(fetched("operation timed out")).toBe(true);
  expect(fetched("client error (Connect)\n  cause: dns error")).toBe(false);
  expect(fetched("HTTP status client error (401 Unauthorized) for url (http://index/)")).toBe(false);
});

test("leaves alone what it does not know", () => {
  expect(explainFailure("error: something new", ASKED)).toBeNull();
});
