# coding: utf-8
"""The worker's program: one `load` frame, then one answer per `predict` frame until the front closes the connection.

Started by src/modelserver/worker.ts as `python -m modelport_worker PARENT_PID FAULT_FILE LIMITS` with the connection on
descriptor 3. User code runs in the main thread, one prediction at a time.
"""
import gc
import json
import os
import platform
import sys
import time

from modelport_worker import compat, guards
from modelport_worker.engines import open_engine
from modelport_worker.failures import describe, say
from modelport_worker.protocol import PROTOCOL_VERSION, Channel, ProtocolError


def main(parent_pid, fault_file, limits):
    guards.restrict(limits)
    channel = Channel(guards.take_socket())
    guards.die_with(parent_pid)
    guards.dump_faults_to(fault_file)
    guards.line_buffered_output()
    frame = channel.read()
    if frame is None:
        return 0
    load = frame[0]
    if load.get("t") != "load" or load.get("protocol") != PROTOCOL_VERSION:
        raise ProtocolError("expected a load frame of protocol %d" % PROTOCOL_VERSION)
    started = time.perf_counter()
    compat.install()
    try:
        engine = open_engine(load)
    except BaseException as error:  # SystemExit too: a package that exits while loading has not loaded
        exception, trace = describe(error)
        channel.write({"t": "load-failed", "exception": exception, "traceback": trace})
        return 1
    # What was loaded stays; keeping it out of the collector's sight makes every later collection cheap.
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()
    channel.write(
        {
            "t": "ready",
            "protocol": PROTOCOL_VERSION,
            "service": engine.name,
            "python": platform.python_version(),
            "loadMs": round((time.perf_counter() - started) * 1000),
        }
    )
    return serve(channel, engine)


def serve(channel, engine):
    """Answers until the front closes the connection (0) or user code asks to exit (its code)."""
    own_pid = os.getpid()
    predict = engine.predict
    steps = engine.steps
    clock = time.perf_counter
    while True:
        frame = channel.read()
        if frame is None:
            return 0
        header, body = frame
        if header.get("t") != "predict":
            raise ProtocolError("expected a predict frame")
        code = None
        received = clock()
        del steps[:]
        try:
            answer = predict(header, body)
            reply = {"t": "answer", "id": header["id"]}
        except BaseException as error:
            if os.getpid() != own_pid:
                os._exit(1)
            exception, trace = describe(error)
            if isinstance(error, SystemExit):
                code = error.code if isinstance(error.code, int) else (0 if error.code is None else 1)
                kind = "code"
            else:
                kind = engine.classify(error, body)
            answer = b""
            reply = {
                "t": "failed",
                "id": header["id"],
                "kind": kind,
                "exception": exception,
                "traceback": trace,
                "exits": code is not None,
            }
        if os.getpid() != own_pid:
            # User code forked and the child came back here: the parent owns the connection.
            os._exit(0)
        if steps:
            reply["stepsUs"] = step_durations(received, steps, clock())
        channel.write(reply, answer)
        if code is not None:
            return code


def step_durations(received, steps, ended):
    """Microseconds: before the first step, each step, and what came after the last one that was completed."""
    times = [received] + list(steps) + [ended]
    return [max(0, round((end - start) * 1e6)) for start, end in zip(times, times[1:])]


if __name__ == "__main__":
    front_pid, fault_path, own_limits = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    sys.argv[1:] = []  # scripts may parse the command line
    try:
        status = main(front_pid, fault_path, own_limits)
    except (ProtocolError, OSError) as error:
        # The front went away in the middle of a frame, or user code closed the connection.
        say("modelport worker: %s: %s" % (type(error).__name__, error))
        status = 70
    guards.end_group_if_orphaned(front_pid)
    sys.exit(status)
