# coding: utf-8
"""Coalescing: requests that wait together are prepared each, inferred as one and finished each (design: the modelserver).

    mode:   off: one by one.   on: joined.   auto: trying → on | off, by evidence from live requests
    every request gets exactly one reply; one that fails fails alone; when the joined step fails, or its result does not
    come apart, its requests are answered one by one as if they had never been joined

While `auto` tries, callers get the answers made one by one; the joined ones are only compared with them. It goes on when
all are the same and joining is faster; it ends at the first difference. What is on is proved again now and then.
"""
import json
import time

from modelport_worker import joining
from modelport_worker.failures import describe

# What `auto` wants to see: batches of different requests, and rows in them.
_BATCHES, _ROWS = 3, 12
# Batches after which joining that saves too little is given up.
_PATIENCE = 20
# Joining must take at most this share of the time of the single answers.
_WORTH = 0.8
# A batch in so many is proved again once joining is on, by so many of its requests.
_PROVE_EVERY = 500
PROVED_AGAIN = 4
# Of what is told about a decision, which may quote answers and exceptions.
_WORDS_MAX = 2000


class Batching(object):
    """Decides whether the next requests are joined. `say(state, text)` hears of each decision, once."""

    def __init__(self, mode, say):
        self.state = {"on": "on", "auto": "trying"}.get(mode, "off")
        self._say = say
        self._auto = mode == "auto"
        self._batches = self._rows = self._joined = 0
        self._single_s = self._joined_s = 0.0

    def wants_proof(self, requests):
        """Whether this batch is to be answered one by one and joined, and the answers compared."""
        # The same request twice proves nothing.
        return self.state == "trying" and len(set(body for _, body in requests)) > 1

    def is_due(self):
        """Whether a batch that was joined is to be proved again."""
        self._joined += 1
        return self._auto and self._joined % _PROVE_EVERY == 0

    def proved_again(self, difference):
        if difference is not None:
            self._decide("off", "requests are answered one by one: %s" % difference)

    def proved(self, difference, count, single_s, joined_s):
        """What a comparison of `count` requests showed. `difference`: None, or in words what was not the same."""
        if difference is not None:
            return self.proved_again(difference)
        self._batches += 1
        self._rows += count
        self._single_s += single_s
        self._joined_s += joined_s
        if self._batches < _BATCHES or self._rows < _ROWS:
            return
        saw = "%d requests in %d batches gave the same answers joined and one by one, in %.2f and %.2f ms each" % (
            self._rows, self._batches, self._joined_s * 1e3 / self._rows, self._single_s * 1e3 / self._rows)
        if self._joined_s <= self._single_s * _WORTH:
            self._decide("on", "requests that wait together are joined from now on: " + saw)
        elif self._batches >= _PATIENCE:
            self._decide("off", "requests are answered one by one, since joining saves too little: " + saw)

    def give_up(self, reason):
        """`auto` finds that this service cannot be joined; `on` stays, and each batch is tried."""
        if self._auto:
            self._decide("off", "requests are answered one by one: %s" % reason)

    def _decide(self, state, text):
        if state != self.state:
            self.state = state
            self._say(state, text[:_WORDS_MAX])


class JoinedFailure(Exception):
    """The joined step failed or its result does not come apart: the requests are to be answered one by one."""


def answer_joined(engine, requests, one, failed, reply):
    """Answers `requests`, [(header, body)], joined where they fit together: `reply(at, header, answer)` gets each reply once it
    is made, with the place of its request.

    `one(header, body)` answers a single request, None where joining must not fail (JoinedFailure then comes out); `failed(header, body, error, times)` makes the reply of a failure.
    SystemExit and the like come out: the caller answers by itself what has got no reply.
    """
    clock, prepare = time.perf_counter, engine.prepare
    groups = {}
    ended = clock()
    for at, (header, body) in enumerate(requests):
        began = ended
        try:
            value = prepare(header, body)
        except Exception as error:
            reply(at, *failed(header, body, error, [began]))
            ended = clock()
            continue
        ended = clock()
        kind = joining.signature(value)
        groups.setdefault(("alone", at) if kind is None else kind, []).append((at, value, began, ended))
    for members in groups.values():
        try:
            results, began, ended = _infer(engine, [member[1] for member in members])
        except JoinedFailure:
            if one is None:
                raise
            results = None
        except Exception as error:  # of a request that stands alone
            ((at, _, began, ended),) = members
            reply(at, *failed(requests[at][0], requests[at][1], error, [began, ended]))
            continue
        if results is None:  # not within the handler above: what fails now has nothing to do with that failure
            for at, _, _, _ in members:
                reply(at, *one(*requests[at]))
            continue
        # The joined step took as long as it took, for each of them.
        inference = ended - began
        inference_us = round(inference * 1e6)
        ended = clock()
        for (at, _, prepare_began, prepare_ended), result in zip(members, results):
            header, body = requests[at]
            began = ended
            try:
                answer = engine.finish(result, body)
            except Exception as error:
                infer_ended = prepare_ended + inference
                reply(at, *failed(header, body, error, [prepare_began, prepare_ended, infer_ended]))
                ended = clock()
                continue
            ended = clock()
            steps = [0, round((prepare_ended - prepare_began) * 1e6), inference_us, round((ended - began) * 1e6), 0]
            reply(at, {"t": "answer", "id": header["id"], "stepsUs": steps}, answer)


def _infer(engine, values):
    began = time.perf_counter()
    if len(values) == 1:
        return [engine.infer(values[0])], began, time.perf_counter()
    try:
        counts = [joining.rows_of(value) for value in values]
        result = engine.infer(joining.join(values))
        ended = time.perf_counter()
        return joining.split(result, counts), began, ended
    except Exception as error:
        raise JoinedFailure(describe(error)[0])


def difference(requests, singles, joined):
    """In words what the joined replies say otherwise than the single ones; None when they say the same."""
    for (header, _), (reply, answer), (joined_reply, joined_answer) in zip(requests, singles, joined):
        if reply["t"] != joined_reply["t"]:
            return "joined, a request ended as %s that ends as %s by itself" % (joined_reply["t"], reply["t"])
        if answer != joined_answer and not joining.same_answer(json.loads(answer.decode("utf-8")), json.loads(joined_answer.decode("utf-8"))):
            return "joined, a request was answered %s that is answered %s by itself" % (_short(joined_answer), _short(answer))
    return None


def _short(answer):
    text = answer.decode("utf-8", "replace")
    return text if len(text) <= 120 else text[:117] + "..."


def step_durations(received, steps, ended):
    """Microseconds: before the first step, each step, and what came after the last one that was completed."""
    times = [received] + list(steps) + [ended]
    return [max(0, round((end - start) * 1e6)) for start, end in zip(times, times[1:])]


