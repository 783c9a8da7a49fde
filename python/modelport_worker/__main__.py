# coding: utf-8
"""The worker's program: one `load` frame, then one reply per `predict` frame until the front closes the connection.

Started by src/modelserver/worker.ts as `python -m modelport_worker PARENT_PID FAULT_FILE LIMITS` with the connection on
descriptor 3. User code runs in the main thread, one prediction at a time.
"""
import gc
import json
import os
import platform
import sys
import time

from modelport_worker import batching, compat, guards
from modelport_worker.batching import Batching, answer_joined, step_durations
from modelport_worker.engines import open_engine
from modelport_worker.failures import describe, say
from modelport_worker.protocol import PROTOCOL_VERSION, Channel, ProtocolError


# Joined answers sent at once: a write costs as much as finishing one or two of them.
_SENT_TOGETHER = 16


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
    mode = load.get("batching", "off")
    if mode != "off" and not engine.has_steps:
        mode = "off"
        text = "requests are answered one by one: %s replaces `inference` as a whole" % engine.name
        channel.write({"t": "batching", "state": mode, "text": text})
    channel.write(
        {
            "t": "ready",
            "protocol": PROTOCOL_VERSION,
            "service": engine.name,
            "python": platform.python_version(),
            "loadMs": round((time.perf_counter() - started) * 1000),
        }
    )
    return serve(channel, engine, mode)


def serve(channel, engine, mode):
    """Answers until the front closes the connection (0) or user code asks to exit (its code)."""
    answering = Answering(engine, os.getpid(), channel)
    decisions = Batching(mode, lambda state, text: channel.write({"t": "batching", "state": state, "text": text}))
    while True:
        frame = channel.read()
        if frame is None:
            return 0
        if frame[0].get("t") == "cancel":  # it crossed with the end of its stream
            continue
        if frame[0].get("t") != "predict":
            raise ProtocolError("expected a predict frame")
        requests = list(zip(frame[0]["requests"], frame[1]))
        if len(requests) == 1 or decisions.state == "off":
            for reply in answering.in_order(requests):
                channel.write(*reply)
        elif decisions.wants_proof(requests):
            began = time.perf_counter()
            replies = answering.each(requests)
            single_s = time.perf_counter() - began
            proves = answering.code is None
            if proves:  # before the replies: with the last of them the front would take this worker for free
                channel.write({"t": "proving"})
            channel.write_all(replies)
            if proves:
                prove(answering, decisions, requests, replies, single_s)
                if answering.code is None:
                    channel.write({"t": "proved"})
        elif decisions.state == "on":
            proves = decisions.is_due()
            if proves:
                channel.write({"t": "proving"})
            replies = answering.joined(requests, channel)
            if proves and answering.code is None:
                prove_again(answering, decisions, requests, replies)
                if answering.code is None:
                    channel.write({"t": "proved"})
        else:
            channel.write_all(answering.each(requests))
        if answering.code is not None:
            return answering.code


def prove(answering, decisions, requests, replies, single_s):
    """Answers the same requests joined and compares; nobody waits for these answers."""
    # What fails by itself fails those it is joined with as well: that says nothing about joining.
    good = [at for at, (reply, _) in enumerate(replies) if reply["t"] == "answer"]
    if len(set(requests[at][1] for at in good)) < 2:
        return
    single_s *= float(len(good)) / len(requests)
    requests, replies = [requests[at] for at in good], [replies[at] for at in good]
    began = time.perf_counter()
    try:
        joined = answering.joined(requests, None)
    except batching.JoinedFailure as error:
        decisions.give_up("the joined step does not give one row for each request (%s)" % error)
        return
    joined_s = time.perf_counter() - began
    if answering.code is not None:
        return
    decisions.proved(difference(requests, replies, joined), len(requests), single_s, joined_s)


def prove_again(answering, decisions, requests, joined):
    """Answers a few of the requests once more by themselves and compares. Few, since the next callers wait meanwhile."""
    few = requests[: batching.PROVED_AGAIN]
    singles = answering.each(few)
    if answering.code is None:
        decisions.proved_again(difference(few, singles, joined))


def difference(requests, singles, joined):
    """As batching.difference; answers that cannot be compared differ."""
    try:
        return batching.difference(requests, singles, joined)
    except Exception as error:
        return "joined and single answers cannot be compared (%s)" % describe(error)[0]


class Answering(object):
    """Replies to requests, one by one or joined. `code`: how user code wants the process to end, None as long as it does not."""

    def __init__(self, engine, own_pid, channel):
        self.code = None
        self._channel = channel
        self._engine = engine
        self._own_pid = own_pid

    def each(self, requests):
        """One by one. Once user code asks to exit, what is left stays unanswered: another worker takes it."""
        return list(self.in_order(requests))

    def in_order(self, requests):
        """As `each`, but each reply as soon as it is made, before the next request begins."""
        for header, body in requests:
            if self.code is None:
                yield self.one(header, body)
            else:
                yield {"t": "unanswered", "id": header["id"]}, b""

    def joined(self, requests, channel):
        """Joined where they fit; sent to `channel` a few at a time, so that the first leave while the last are finished. Without
        a channel they are only returned, and JoinedFailure comes out where they do not fit."""
        replies = [None] * len(requests)
        unsent = []

        def reply(at, header, answer):
            replies[at] = (header, answer)
            unsent.append(replies[at])
            if len(unsent) >= _SENT_TOGETHER:
                send()

        def send():
            self._stay_parent()
            if channel is not None and unsent:
                channel.write_all(unsent)
            del unsent[:]

        try:
            answer_joined(self._engine, requests, None if channel is None else self._one_left, self._failed, reply)
        except batching.JoinedFailure:
            raise
        except BaseException:  # SystemExit and the like: whose fault it is shows when they are answered one by one
            left = [at for at, made in enumerate(replies) if made is None]
            for at, made in zip(left, self.each([requests[at] for at in left])):
                reply(at, *made)
        send()
        return replies

    def one(self, header, body):
        received = time.perf_counter()
        steps = self._engine.steps
        del steps[:]
        try:
            reply = {"t": "answer", "id": header["id"]}
            if header.get("stream"):
                answer = self._engine.predict_stream(header, body)
                if not isinstance(answer, bytes):
                    reply["items"] = self._send_items(header["id"], answer)
                    answer = b""
            else:
                answer = self._engine.predict(header, body)
        except BaseException as error:
            return self._failed(header, body, error, steps, received)
        self._stay_parent()
        if steps:
            reply["stepsUs"] = step_durations(received, steps, time.perf_counter())
        return reply, answer

    def _send_items(self, request_id, items):
        """Sends each item as soon as there is one, until there is none or nobody takes them any more; how many."""
        count = 0
        channel = self._channel
        item = {"t": "item", "id": request_id}
        for answer in items:
            self._stay_parent()
            channel.write(item, answer)
            count += 1
            if channel.has_more():
                frame = channel.read()
                if frame is None:
                    raise ProtocolError("the front went away")
                if frame[0].get("t") != "cancel":
                    raise ProtocolError("expected a cancel frame")
                break
        return count

    def _one_left(self, header, body):
        return self.each([(header, body)])[0]

    def _failed(self, header, body, error, steps, received=None):
        self._stay_parent()
        exception, trace = describe(error)
        kind = "code"
        exits = isinstance(error, SystemExit)
        if exits:
            self.code = error.code if isinstance(error.code, int) else (0 if error.code is None else 1)
        else:
            kind = self._engine.classify(error, body)
        reply = {"t": "failed", "id": header["id"], "kind": kind, "exception": exception, "traceback": trace, "exits": exits}
        if steps:
            reply["stepsUs"] = step_durations(steps[0] if received is None else received, steps, time.perf_counter())
        return reply, b""

    def _stay_parent(self):
        # User code forked and the child came back here: the parent owns the connection.
        if os.getpid() != self._own_pid:
            os._exit(0)


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
