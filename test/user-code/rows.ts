/**
 * The table of what user code may do wrong and what becomes of it: tried row by row by
 * src/modelserver/user-code.system.test.ts, and docs/user-code.md is made of it.
 */
export interface PredictionRow {
  readonly what: string;
  /** What the service's class does; the statements of `_inference(self, data)` unless `step` says otherwise. */
  readonly python: string;
  readonly step?: "_preprocess" | "_postprocess";
  /** Runs when the file is imported. */
  readonly atImport?: string;
  readonly status: number;
  /** `msg` of the answer; absent for 200. */
  readonly msg?: "Inference failed" | "Inference timed out";
  /** What `error_info` holds, or the body of a 200. */
  readonly says?: string;
  readonly worker: "goes on" | "is replaced";
  /** What the instance's log holds then. */
  readonly log?: string;
  /** Needs a control group, or is what happens without one; `user`: without one, and with a user of the service's own. */
  readonly needs?: "cgroup" | "rlimits" | "user";
  readonly note?: string;
}

export interface LoadRow {
  readonly what: string;
  /** The whole customize_service.py; `SERVICE` stands for a service that works. */
  readonly python: string;
  readonly startTimeoutMs?: number;
  /** Absent: it becomes ready. */
  readonly failure?: { readonly reason: string; readonly message: string };
  readonly log?: string;
  readonly note?: string;
}

const forever = "while True: pass";

export const PREDICTIONS: readonly PredictionRow[] = [
  {
    what: "raises in `_preprocess`",
    step: "_preprocess",
    python: `raise ValueError("bad input")`,
    status: 500,
    msg: "Inference failed",
    says: "ValueError: bad input",
    worker: "goes on",
    log: "ValueError: bad input",
  },
  {
    what: "raises in `_inference`",
    python: `raise RuntimeError("bad model")`,
    status: 500,
    msg: "Inference failed",
    says: "RuntimeError: bad model",
    worker: "goes on",
    log: "RuntimeError: bad model",
  },
  {
    what: "raises in `_postprocess`",
    step: "_postprocess",
    python: `raise OSError("bad result")`,
    status: 500,
    msg: "Inference failed",
    says: "OSError: bad result",
    worker: "goes on",
    log: "OSError: bad result",
  },
  {
    what: "raises `KeyError` or `TypeError` for a body that is JSON",
    python: `return {}["missing"]`,
    status: 400,
    msg: "Inference failed",
    says: "KeyError: 'missing'",
    worker: "goes on",
    log: "KeyError: 'missing'",
  },
  {
    what: "raises `KeyboardInterrupt`",
    python: `raise KeyboardInterrupt()`,
    status: 500,
    msg: "Inference failed",
    says: "KeyboardInterrupt",
    worker: "goes on",
    log: "KeyboardInterrupt",
  },
  {
    what: "calls itself without end",
    python: `return self._inference(data)`,
    status: 500,
    msg: "Inference failed",
    says: "RecursionError",
    worker: "goes on",
    log: "RecursionError",
  },
  {
    what: "returns what has no form in JSON",
    python: `return [object()]`,
    status: 500,
    msg: "Inference failed",
    says: "an object of type builtins.object has no form in JSON",
    worker: "goes on",
    log: "resp_data[0]",
  },
  {
    what: "returns what contains itself",
    python: `answer = []; answer.append(answer); return answer`,
    status: 500,
    msg: "Inference failed",
    says: "contains itself",
    worker: "goes on",
    log: "contains itself",
  },
  {
    what: "returns 200 MB",
    python: `return ["y" * 200_000_000]`.replaceAll("_", ""),
    status: 200,
    worker: "goes on",
    note: "delivered whole; beyond 1 GiB the worker is replaced and the caller gets 500",
  },
  {
    what: "calls `sys.exit(3)`",
    python: `import sys; sys.exit(3)`,
    status: 500,
    msg: "Inference failed",
    says: "SystemExit: 3",
    worker: "is replaced",
    log: "exited with code 3",
  },
  {
    what: "calls `os._exit(5)`",
    python: `import os; os._exit(5)`,
    status: 500,
    msg: "Inference failed",
    says: "exited with code 5",
    worker: "is replaced",
    log: "exited with code 5",
  },
  {
    what: "reads at address 0",
    python: `import ctypes; ctypes.string_at(0)`,
    status: 500,
    msg: "Inference failed",
    says: "was ended by SIGSEGV",
    worker: "is replaced",
    log: "in _inference",
  },
  {
    what: "aborts",
    python: `import os; os.abort()`,
    status: 500,
    msg: "Inference failed",
    says: "was ended by SIGABRT",
    worker: "is replaced",
    log: "in _inference",
  },
  {
    what: "locks itself out",
    python: `import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()`,
    status: 504,
    msg: "Inference timed out",
    worker: "is replaced",
    log: "in _inference",
  },
  {
    what: "loops without end",
    python: forever,
    status: 504,
    msg: "Inference timed out",
    worker: "is replaced",
    log: "in _inference",
  },
  {
    what: "never comes back from native code that holds the interpreter's lock",
    python: `import ctypes; ctypes.PyDLL(None).sleep(600)`,
    status: 504,
    msg: "Inference timed out",
    worker: "is replaced",
    log: "in _inference",
  },
  {
    what: "ignores every signal it may ignore, and loops",
    python: [
      "import signal",
      "for one in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGHUP): signal.signal(one, lambda *_: None)",
      forever,
    ].join("\n"),
    status: 504,
    msg: "Inference timed out",
    worker: "is replaced",
    log: "was ended by SIGKILL",
  },
  {
    what: "lets a signal end it (`signal.alarm`)",
    python: `import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(600)`,
    status: 500,
    msg: "Inference failed",
    says: "was ended by SIGALRM",
    worker: "is replaced",
    log: "was ended by SIGALRM",
  },
  {
    what: "uses more memory than its specification has",
    python: `b"x" * (10 << 30)`,
    status: 500,
    msg: "Inference failed",
    says: "used more than its 1000 MB of memory",
    worker: "is replaced",
    log: "used more than its 1000 MB of memory",
    needs: "cgroup",
    note: "with a control group",
  },
  {
    what: "uses more memory than its specification has",
    python: `b"x" * (10 << 30)`,
    status: 500,
    msg: "Inference failed",
    says: "MemoryError",
    worker: "goes on",
    log: "MemoryError",
    needs: "rlimits",
    note: "without a control group",
  },
  {
    what: "starts processes without end, each in a session of its own",
    python: [
      "import os, time",
      "while True:",
      "    try:",
      "        if os.fork() == 0: os.setsid()",
      "    except OSError: time.sleep(0.01)",
    ].join("\n"),
    status: 504,
    msg: "Inference timed out",
    worker: "is replaced",
    log: "exceeded the deadline",
    needs: "cgroup",
    note: "with a control group: 1,024 processes at most, and none is left",
  },
  {
    what: "starts processes without end",
    python: [
      "import os, time",
      "while True:",
      "    try: os.fork()",
      "    except OSError: time.sleep(0.01)",
    ].join("\n"),
    status: 504,
    msg: "Inference timed out",
    worker: "is replaced",
    log: "exceeded the deadline",
    needs: "user",
    note: "without a control group: 1,024 processes of the service's own user at most; those in a session of their own are left",
  },
  {
    what: "leaves a process behind in a session of its own, then ends",
    python: [
      "import os, time",
      "if os.fork() == 0:",
      "    os.setsid()",
      "    time.sleep(600)",
      "os._exit(5)",
    ].join("\n"),
    status: 500,
    msg: "Inference failed",
    says: "exited with code 5",
    worker: "is replaced",
    log: "exited with code 5",
    needs: "cgroup",
    note: "with a control group: it ends with its worker",
  },
  {
    what: "forks, and the child returns an answer as well",
    python: `import os; os.fork(); return [1]`,
    status: 200,
    says: "[1]",
    worker: "goes on",
    note: "the child ends without a word",
  },
  {
    what: "opens files until it may not",
    python: `self.files = []\nwhile True: self.files.append(open("/dev/null"))`,
    status: 500,
    msg: "Inference failed",
    says: "Too many open files",
    worker: "goes on",
    log: "Too many open files",
    note: "4,096 per worker",
  },
  {
    what: "prints 100 MB",
    python: `for _ in range(1000): print("x" * 100000)\nreturn [1]`,
    status: 200,
    says: "[1]",
    worker: "goes on",
    note: "the log keeps the last 10 to 20 MB of an instance",
  },
  {
    what: "closes its output",
    python: `import os, sys; os.close(1); os.close(2); sys.stdout.close(); return [1]`,
    status: 200,
    says: "[1]",
    worker: "goes on",
  },
  {
    what: "closes every descriptor",
    python: `import os; os.closerange(0, 4096); return [1]`,
    status: 500,
    msg: "Inference failed",
    worker: "is replaced",
  },
  {
    what: "writes to the connection between worker and front",
    python: [
      "import os",
      "for fd in range(3, 4096):",
      "    try: os.write(fd, b'not a frame' * 1000)",
      "    except OSError: pass",
      forever,
    ].join("\n"),
    status: 500,
    msg: "Inference failed",
    worker: "is replaced",
  },
  {
    what: "writes whole answers of its own to that connection",
    python: [
      "import os, stat, struct",
      `head = b'{"t": "answer", "id": 999999}'`,
      "frame = struct.pack('>II', len(head), 2) + head + b'{}'",
      "for fd in range(3, 4096):",
      "    try:",
      "        if stat.S_ISSOCK(os.fstat(fd).st_mode): os.write(fd, frame * 1000)",
      "    except OSError: pass",
      "return [1]",
    ].join("\n"),
    status: 200,
    says: "[1]",
    worker: "goes on",
    note: "they are for nobody",
  },
  {
    what: "registers an `atexit` hook that hangs, and exits",
    python: `import atexit, sys, time; atexit.register(time.sleep, 600); sys.exit(3)`,
    status: 500,
    msg: "Inference failed",
    says: "SystemExit: 3",
    worker: "is replaced",
    log: "another starts",
    note: "killed two seconds later; predictions meanwhile wait for the replacement",
  },
  {
    what: "leaves threads running that never end, and exits",
    python: [
      "import sys, threading, time",
      "threading.Thread(target=time.sleep, args=(600,)).start()",
      "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
      "sys.exit(3)",
    ].join("\n"),
    status: 500,
    msg: "Inference failed",
    says: "SystemExit: 3",
    worker: "is replaced",
    log: "another starts",
    note: "killed two seconds later",
  },
  {
    what: "raises in a thread of its own",
    python: [
      "import threading",
      "def work(): raise ValueError('in a thread')",
      "one = threading.Thread(target=work, daemon=True); one.start(); one.join()",
      "return [1]",
    ].join("\n"),
    status: 200,
    says: "[1]",
    worker: "goes on",
    log: "ValueError: in a thread",
  },
];

export const LOADS: readonly LoadRow[] = [
  { what: "loads slowly", python: "import time; time.sleep(1)\nSERVICE", note: "predictions wait for it" },
  {
    what: "raises while it loads",
    python: `raise ValueError("no label file")`,
    failure: { reason: "load-failed", message: "ValueError: no label file" },
    log: "ValueError: no label file",
  },
  {
    what: "calls `sys.exit` while it loads",
    python: `import sys; sys.exit(0)`,
    failure: { reason: "load-failed", message: "SystemExit" },
    log: "SystemExit",
  },
  {
    what: "calls `os._exit` while it loads",
    python: `import os; os._exit(9)`,
    failure: { reason: "load-failed", message: "exited with code 9" },
    log: "exited with code 9",
  },
  {
    what: "crashes while it loads",
    python: `import ctypes; ctypes.string_at(0)`,
    failure: { reason: "load-failed", message: "SIGSEGV" },
    log: "customize_service.py",
  },
  {
    what: "does not end loading",
    python: forever,
    startTimeoutMs: 1000,
    failure: { reason: "start-timeout", message: "was not loaded within" },
    log: "customize_service.py",
  },
  {
    what: "fails to load two times in three, once it has worked",
    // The first load works; the replacement fails twice, then works.
    python: [
      "import os",
      "open('loads', 'a').write('x')",
      "if os.path.getsize('loads') in (2, 3): raise ValueError('not this time')",
      "SERVICE",
    ].join("\n"),
    log: "ValueError: not this time",
    note: "tried again with growing pauses; health is `starting` meanwhile and predictions wait",
  },
  {
    what: "never loads again, once it has worked",
    python: [
      "import os",
      "open('loads', 'a').write('x')",
      "if os.path.getsize('loads') > 1: raise ValueError('never again')",
      "SERVICE",
    ].join("\n"),
    failure: { reason: "load-failed", message: "ValueError: never again" },
    log: "ValueError: never again",
    note: "after three attempts in a row the instance has failed, and the platform starts another",
  },
];
