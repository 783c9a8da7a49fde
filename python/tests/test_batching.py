# coding: utf-8
"""Coalescing: every request gets exactly the answer it gets by itself, whatever it is joined with."""
import json
import random
import unittest

from support import Package, RunningWorker

from modelport_worker import joining
from modelport_worker.batching import Batching

SERVICE = """
import json, os, sys
from model_service.python_model_service import XgSklServingBaseService

class UserService(XgSklServingBaseService):
    joined = []
    def __init__(self, model_path):
        pass
    def _preprocess(self, data):
        request = json.loads(data)
        if "refuse" in request:
            raise ValueError("refused")
        return request["rows"]
    def _inference(self, rows):
        if "poison" in rows:
            raise RuntimeError("poisoned")
        if "exit" in rows:
            sys.exit(3)
        if "die" in rows:
            os._exit(9)
        self.joined.append(len(rows))
        return [row * 2 for row in rows]
    def _postprocess(self, results):
        if any(result == "badbad" for result in results):
            raise KeyError("bad")
        return list(results) if results != [0] else {"data": self.joined}
"""


def body(*rows):
    return json.dumps({"rows": rows}).encode()


class Joining(unittest.TestCase):
    def test_lists_come_apart_as_they_were_put_together(self):
        pick = random.Random(7)
        for _ in range(300):
            values = [[pick.random() for _ in range(pick.randrange(4))] for _ in range(pick.randrange(1, 8))]
            joined = joining.join(values)
            self.assertEqual(joining.split(joined, [len(value) for value in values]), values)

    def test_dicts_are_joined_by_name_and_only_when_all_parts_have_the_same_rows(self):
        self.assertIsNone(joining.signature({"a": [1], "b": [1, 2]}))
        self.assertIsNone(joining.signature({"a": 1}))
        self.assertIsNone(joining.signature({}))
        one, other = {"a": [1], "b": [2]}, {"a": [3, 4], "b": [5, 6]}
        self.assertEqual(joining.signature(one), joining.signature(other))
        self.assertEqual(joining.split(joining.join([one, other]), [1, 2]), [one, other])

    def test_a_result_with_another_number_of_rows_does_not_come_apart(self):
        for result in ([1, 2, 3], [], None, 5, "ab", {"a": [1]}, {}):
            with self.assertRaises(joining.NotSplittable):
                joining.split(result, [1, 1])

    def test_answers_are_the_same_up_to_rounding_and_nothing_else(self):
        same = joining.same_answer
        self.assertTrue(same({"a": [1.0, 2]}, {"a": [1.0000001, 2]}))
        for one, other in ((1, 1.1), (True, 1), ("1", 1), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (None, 0)):
            self.assertFalse(same(one, other), (one, other))


class Deciding(unittest.TestCase):
    def setUp(self):
        self.said = []

    def auto(self):
        return Batching("auto", lambda state, text: self.said.append((state, text)))

    def test_goes_on_when_the_answers_are_the_same_and_joining_is_faster(self):
        batching = self.auto()
        for _ in range(2):
            batching.proved(None, 6, 1.0, 0.2)
            self.assertEqual(batching.state, "trying")
        batching.proved(None, 6, 1.0, 0.2)
        self.assertEqual((batching.state, len(self.said)), ("on", 1))
        self.assertIn("18 requests in 3 batches", self.said[0][1])

    def test_one_difference_ends_it_even_when_it_is_on(self):
        for before in (0, 3):
            batching = self.auto()
            for _ in range(before):
                batching.proved(None, 6, 1.0, 0.2)
            if before:
                batching.proved_again("it differs")
            else:
                batching.proved("it differs", 6, 1.0, 0.2)
            self.assertEqual(batching.state, "off")

    def test_gives_up_when_joining_saves_too_little(self):
        batching = self.auto()
        for _ in range(20):
            batching.proved(None, 6, 1.0, 0.9)
        self.assertEqual(batching.state, "off")

    def test_the_same_request_again_and_again_proves_nothing(self):
        batching = self.auto()
        self.assertFalse(batching.wants_proof([({}, b"1"), ({}, b"1")]))
        self.assertTrue(batching.wants_proof([({}, b"1"), ({}, b"2")]))

    def test_what_is_on_is_proved_again_now_and_then(self):
        batching = self.auto()
        for _ in range(3):
            batching.proved(None, 6, 1.0, 0.2)
        proofs = sum(batching.is_due() for _ in range(1500))
        self.assertEqual(proofs, 3)


class Joined(unittest.TestCase):
    def start(self, mode, service=SERVICE):
        package = Package(customize_service=service)
        self.addCleanup(package.remove)
        worker = RunningWorker(package.dir, batching=mode)
        self.addCleanup(lambda: worker.process.poll() is None and (worker.process.kill(), worker.close()))
        return worker

    def answers(self, replies):
        return [json.loads(answer.decode())["data"]["resp_data"] if header["t"] == "answer" else header["t"] for header, answer in replies]

    def test_joined_requests_get_what_they_get_alone(self):
        worker = self.start("on")
        replies = worker.predict_all([body(1, 2), body("a"), body(), body(3)])
        self.assertEqual(self.answers(replies), [[2, 4], ["aa"], [], [6]])
        self.assertEqual([len(header["stepsUs"]) for header, _ in replies], [5, 5, 5, 5])
        self.assertEqual(json.loads(worker.predict(body(0))[1].decode())["data"][0], 4)

    def test_one_bad_request_fails_alone_in_every_step(self):
        worker = self.start("on")
        for bad, kind in ((b'{"refuse": 1}', "code"), (body("poison"), "code"), (body("bad"), "lookup"), (b"no", "input")):
            replies = worker.predict_all([body(1), bad, body(2)])
            self.assertEqual(self.answers(replies), [[2], "failed", [4]], bad)
            self.assertEqual(replies[1][0]["kind"], kind)
            # The joined attempt before says nothing about whose fault it was.
            self.assertNotIn("JoinedFailure", replies[1][0]["traceback"])

    def test_who_asks_to_exit_fails_alone_and_the_rest_is_left_for_another_worker(self):
        worker = self.start("on")
        replies = worker.predict_all([body(1), body("exit"), body(2)])
        self.assertEqual(self.answers(replies), [[2], "failed", "unanswered"])
        self.assertTrue(replies[1][0]["exits"])
        self.assertEqual(worker.close()[0], 3)

    def test_auto_answers_one_by_one_until_it_has_seen_that_joining_is_right_and_faster(self):
        slow = SERVICE.replace("self.joined.append", "import time; time.sleep(0.01); self.joined.append")
        worker = self.start("auto", slow)
        for at in range(3):
            replies = worker.predict_all([body(at * 10 + n) for n in range(1, 6)])
            self.assertEqual(self.answers(replies), [[(at * 10 + n) * 2] for n in range(1, 6)])
        decided = worker.read()[0]
        self.assertEqual((decided["t"], decided["state"]), ("batching", "on"))
        self.assertEqual(self.answers(worker.predict_all([body(5), body(6)])), [[10], [12]])
        self.assertEqual(json.loads(worker.predict(body(0))[1].decode())["data"][-2:], [2, 1])

    def test_whatever_the_joined_step_raises_everyone_is_answered_and_the_decision_is_told_in_few_words(self):
        for raised in ("class Odd(Exception):\n    def __str__(self): raise KeyError('no text')\n", "class Odd(Exception):\n    def __str__(self): return 'x' * 3000000\n"):
            odd = raised + SERVICE.replace("self.joined.append(len(rows))", "if len(rows) > 1: raise Odd()")
            on = self.start("on", odd)
            self.assertEqual(self.answers(on.predict_all([body(1), body(2), body(3)])), [[2], [4], [6]])
            auto = self.start("auto", odd)
            self.assertEqual(self.answers(auto.predict_all([body(1), body(2)])), [[2], [4]])
            decided = auto.read()[0]
            self.assertEqual((decided["t"], decided["state"]), ("batching", "off"))
            self.assertLess(len(decided["text"]), 5000)
            self.assertEqual(self.answers(auto.predict_all([body(1), body(2)])), [[2], [4]])

    def test_answers_that_cannot_be_compared_differ(self):
        huge = SERVICE.replace("return [row * 2 for row in rows]", "return [10 ** 400 if len(rows) == 1 else 1.5 for row in rows]")
        worker = self.start("auto", huge)
        worker.predict_all([body(1), body(2)])
        self.assertEqual(worker.read()[0]["state"], "off")
        self.assertEqual(self.answers([worker.predict(body(3))]), [[10 ** 400]])

    def test_says_that_it_is_not_free_while_it_compares(self):
        worker = self.start("auto")
        worker.send([(0, body(1)), (1, body(2))])
        kinds = [worker.channel.read()[0]["t"] for _ in range(3)]
        self.assertEqual(kinds, ["proving", "answers", "proved"])

    def test_auto_turns_away_from_services_whose_answers_depend_on_their_neighbours(self):
        depends = SERVICE.replace("return [row * 2 for row in rows]", "return [len(rows) for row in rows]")
        keeps = SERVICE.replace('return request["rows"]', 'self.last = request["rows"]; return request["rows"]').replace(
            "return list(results) if", "return self.last if")
        short = SERVICE.replace("return [row * 2 for row in rows]", "return [sum(rows)]")
        whole = SERVICE + "    def inference(self, data):\n        return []\n"
        for service in (depends, keeps, short):
            worker = self.start("auto", service)
            worker.predict_all([body(1, 1), body(2, 3)])
            self.assertEqual(worker.read()[0]["state"], "off")
            worker.close()
        for mode in ("auto", "on"):
            self.assertEqual(self.start(mode, whole).decided["state"], "off")
        self.assertIsNone(self.start("off", whole).decided)

    def test_any_mix_of_requests_gets_the_answers_of_one_by_one(self):
        on, off = self.start("on"), self.start("off")
        pick = random.Random(11)
        kinds = [lambda: body(pick.randrange(1, 99)), lambda: body("x", "y"), lambda: body(), lambda: body("poison"),
                 lambda: body("bad"), lambda: b"broken", lambda: b'{"refuse": 1}', lambda: body([1], [2])]
        for _ in range(60):
            requests = [pick.choice(kinds)() for _ in range(pick.randrange(2, 9))]
            self.assertEqual(self.answers(on.predict_all(requests)), self.answers(off.predict_all(requests)), requests)

    def test_any_mix_of_shapes_is_answered_as_one_by_one_whatever_auto_has_decided_by_then(self):
        shapes = """
import json, sys, time
from model_service.python_model_service import XgSklServingBaseService

class UserService(XgSklServingBaseService):
    def __init__(self, model_path):
        pass
    def _preprocess(self, data):
        request = json.loads(data)
        if request["form"] == "refuse":
            raise ValueError("refused")
        return request["value"]
    def _inference(self, value):
        if value == [13] or isinstance(value, list) and 13 in value:
            raise RuntimeError("poisoned")
        time.sleep(0.002)
        if isinstance(value, dict):
            return {name: [[name, row] for row in rows] for name, rows in value.items()}
        return [[type(row).__name__, row] for row in value] if isinstance(value, list) else [value]
    def _postprocess(self, results):
        return results
"""
        pick = random.Random(3)

        def request():
            rows = [pick.randrange(14, 99) for _ in range(pick.randrange(4))]
            value = pick.choice([
                lambda: rows, lambda: rows, lambda: rows, lambda: [str(row) for row in rows], lambda: [[row] for row in rows],
                lambda: {"a": rows, "b": rows}, lambda: {"b": rows, "a": rows}, lambda: {"a": rows, "b": rows + [1]}, lambda: {"c": rows},
                lambda: {}, lambda: 5, lambda: "text", lambda: None, lambda: [13]])()
            return json.dumps({"form": "refuse" if pick.random() < 0.05 else "", "value": value}).encode()

        alone = self.start("off", shapes)
        for mode in ("on", "auto"):
            worker, decided = self.start(mode, shapes), []
            for _ in range(60):
                requests = [request() for _ in range(pick.randrange(2, 9))]
                replies = worker.predict_all(requests, lambda header: decided.append(header["state"]))
                self.assertEqual(self.answers(replies), self.answers(alone.predict_all(requests)), requests)
            # Which of the two is a matter of how busy the machine is; that it decides once is not.
            self.assertIn(decided, (["on"], ["off"]) if mode == "auto" else ([],))

    def test_who_ends_the_process_is_the_only_one_without_an_answer_whoever_asks_the_rest_again(self):
        pick = random.Random(5)
        for mode in ("on", "auto"):
            for _ in range(4):
                kinds = [pick.choice(["good", "good", "poison", "exit"]) for _ in range(6)]
                waiting = [body({"good": at + 1}.get(kind, kind)) for at, kind in enumerate(kinds)]
                expected = [{"good": [(at + 1) * 2]}.get(kind, "failed") for at, kind in enumerate(kinds)]
                got, left = [None] * len(kinds), list(range(len(kinds)))
                while left:
                    worker = self.start(mode)
                    replies = worker.predict_all([waiting[at] for at in left])
                    for at, answer in zip(left, self.answers(replies)):
                        got[at] = answer
                    left = [at for at in left if got[at] == "unanswered"]
                    worker.close()
                self.assertEqual(got, expected, kinds)


if __name__ == "__main__":
    unittest.main()
