/** docs/user-code.md, made of the table: what becomes of each thing user code may do wrong. */
import { LOADS, PREDICTIONS } from "./rows.ts";
import type { LoadRow, PredictionRow } from "./rows.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");

const answer = (row: PredictionRow): string =>
  row.status === 200 ? "200" : `${row.status} \`PY.0105\` "${row.msg ?? ""}"`;

const says = (row: PredictionRow): string =>
  row.msg === undefined || row.says === undefined ? "–" : `\`${row.says.replace("1000 MB", "… MB")}\``;

const predictionLine = (row: PredictionRow): string =>
  `| ${cell(row.what)} | ${answer(row)} | ${cell(says(row))} | ${row.worker} | ${row.note ?? ""} |`;

const loadLine = (row: LoadRow): string =>
  `| ${cell(row.what)} | ${
    row.failure === undefined
      ? "`ready` in the end"
      : `\`failed\` (\`${row.failure.reason}\`): "… ${row.failure.message} …"`
  } | ${row.note ?? ""} |`;

export const renderUserCodePage = (): string =>
  [
    "# What user code may do wrong",
    "",
    "Generated from the table in `test/user-code/` by `npm run gen`; do not edit.",
    "`src/modelserver/user-code.system.test.ts` tries every row against a real instance, with a second instance beside it whose",
    "predictions must all be answered meanwhile.",
    "",
    "Whatever happens, the caller gets one answer by the deadline of its prediction (`MODELPORT_PREDICT_TIMEOUT_MS`), the",
    "traceback or the Python stack is in the instance's log, and a worker that ended is replaced: at once the first time,",
    "then after 0.5, 1, 2 … 30 s, until it was well for a minute. An instance whose code does not come up says",
    "`failed`, with the reason, and the platform starts another one with growing pauses.",
    "",
    "## In a prediction",
    "",
    "| The code | The caller gets | `error_info` holds | The worker | |",
    "| --- | --- | --- | --- | --- |",
    ...PREDICTIONS.map(predictionLine),
    "",
    "## While the model is loaded",
    "",
    "| The package | Health | |",
    "| --- | --- | --- |",
    ...LOADS.map(loadLine),
    "",
    "Predictions of an instance that has failed are answered with 503 and the same sentence; the gateway sends them to",
    "other instances.",
    "",
    "## What user code is held to",
    "",
    "`modelport doctor` says in its line `isolation` what of this the machine gives.",
    "",
    "| | Where it is given | Elsewhere |",
    "| --- | --- | --- |",
    "| memory of the specification, for all workers of an instance | a control group, v1 or v2, that the platform may make below its own | each worker's share of it as `RLIMIT_DATA` (Linux): `MemoryError` instead of the worker's end |",
    "| 1,024 processes and threads per instance | likewise | `RLIMIT_NPROC` per service with own users; none otherwise |",
    "| a share of the processors by the specification's vCPUs, when they are all busy | likewise | as the system shares them among processes |",
    "| 4,096 open files per worker, no core files, no new rights (`no_new_privs`) | everywhere (the last on Linux) | – |",
    "| processes it started end with its worker | those of a control group all; else those of its process group | – |",
    "| a user per service (`MODELPORT_SERVICE_USERS`), no groups, no capabilities | the platform runs as root | the platform's own user |",
    "| its package can only be read; its own directory (`HOME`, `TMPDIR`) is the only place of the platform it can write | with own users | files of the package are marked read-only, which their owner can undo |",
    "| the data directory, secrets, other services' directories and processes out of sight | with own users | – |",
    "| the accelerators of `MODELPORT_DEVICES` and no other, where that is set: `CUDA_VISIBLE_DEVICES`, which the service's variables then cannot change | everywhere; code that sets it anew is not held | – |",
    "| an environment of its own variables and a few of the system's; no descriptor but its output and its connection | everywhere | – |",
    "",
    "An instance whose interpreter, package or checkout the service's user cannot reach (below a closed home, say) runs as the",
    "platform's user, and its log says so. So does Spark, which needs an entry in `/etc/passwd`: give `MODELPORT_SERVICE_USERS` a",
    "range of accounts that exist. Not held apart: the network, `/tmp`, and what everybody on the machine may read.",
    "",
    "**While an environment is built** nothing of a package runs as the platform: wheels are only unpacked, and bytecode is compiled by",
    "an interpreter that takes no notice of what they bring (`*.pth`). A dependency that comes as source only has to run its build",
    "script. Where the platform runs as root, that is done by a user of the build's own out of the last thousand (at most a quarter) of",
    "`MODELPORT_SERVICE_USERS`, which can read nothing of the platform, has a cache of its own, and of which nothing runs and no file",
    "is left when the build is over. Elsewhere, where that user cannot reach the interpreter, and for what the engines themselves need",
    "so (pyspark; gast, termcolor and html5lib of old TensorFlows) it is the platform's own.",
    "",
    "With systemd, control groups need `Delegate=yes` and `DelegateSubgroup=platform` in the unit.",
    "",
  ].join("\n");
