# coding: utf-8
import collections
import datetime
import decimal
import enum
import json
import math
import pathlib
import unittest
import uuid

import support  # noqa: F401

from modelport_worker import answers
from modelport_worker.answers import AnswerError, encode_answer


def through(value):
    return json.loads(encode_answer(value).decode("utf-8"))


class Array(object):
    """What numpy arrays and scalars, tensors and series have in common."""

    def __init__(self, plain):
        self._plain = plain

    def tolist(self):
        return self._plain


class Tensor(object):
    """What tensors of TensorFlow and MXNet have in place of `tolist`: an array to be had, by whichever name."""

    def __init__(self, name, plain):
        setattr(self, name, lambda: Array(plain))


class Ragged(object):
    def to_list(self):
        return [[1], [2, b"x"]]


class Itself(Array):
    """A number of a type that Python has no like of, as numpy's long doubles."""

    def tolist(self):
        return self

    def __float__(self):
        return 1.5


class Unreadable(object):
    def tolist(self):
        raise NotImplementedError("no data here\nand more of it")


class Colour(enum.Enum):
    RED = "red"


class Answers(unittest.TestCase):
    def test_keeps_plain_json_as_it_is(self):
        value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": []}}
        self.assertEqual(through(value), value)
        self.assertIn("ü".encode("utf-8"), encode_answer(value))

    def test_expresses_what_scripts_return(self):
        for value, expected in (
            (Array([[1, 2], [3.5, 4]]), [[1, 2], [3.5, 4]]),
            (Array(7), 7),
            (Tensor("numpy", [[1.5]]), [[1.5]]),
            (Tensor("asnumpy", 2), 2),
            (Ragged(), [[1], [2, "x"]]),
            (Itself(None), 1.5),
            ((1, 2), [1, 2]),
            ({3, 1, 2}, [1, 2, 3]),
            (b"text", "text"),
            (b"\xff\x00", "/wA="),
            (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
            (datetime.date(2026, 1, 2), "2026-01-02"),
            (decimal.Decimal("1.5"), 1.5),
            (Colour.RED, "red"),
            (collections.OrderedDict([("b", 1), ("a", 2)]), {"b": 1, "a": 2}),
            ({"a": 1}.keys(), ["a"]),
            (map(str, [1, 2]), ["1", "2"]),
            (range(3), [0, 1, 2]),
            (pathlib.PurePosixPath("/a/b"), "/a/b"),
            (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ):
            self.assertEqual(through({"v": [value]}), {"v": [expected]}, repr(value))

    def test_expresses_keys_that_are_not_strings(self):
        self.assertEqual(through({1: "a", None: "b", 2.5: "c", Array(4): "d", (1, 2): "e"}),
                         {"1": "a", "null": "b", "2.5": "c", "4": "d", "(1, 2)": "e"})

    def test_sends_nan_and_infinity_as_null_and_says_so_once(self):
        answers._warned_nan = False
        with self.assertLogs("modelport", "WARNING") as logs:
            self.assertEqual(through([math.nan, math.inf, -math.inf, Array([math.nan, 1.0])]), [None, None, None, [None, 1.0]])
            self.assertEqual(through({"x": math.nan}), {"x": None})
        self.assertEqual(len(logs.records), 1)

    def test_never_writes_what_is_not_json(self):
        self.assertNotIn(b"NaN", encode_answer([math.nan]))

    def test_names_the_place_of_what_it_cannot_express(self):
        with self.assertRaises(AnswerError) as caught:
            encode_answer({"data": [{"x": object()}]})
        self.assertIn("answer.data[0].x", str(caught.exception))
        self.assertIn("object", str(caught.exception))
        self.assertRaises(AnswerError, encode_answer, [Array(1j)])

    def test_names_the_place_and_the_reason_where_a_library_fails(self):
        with self.assertRaisesRegex(AnswerError, r"^answer\.x\[0\]: an object of type .*Unreadable has no form in JSON: no data here$"):
            encode_answer({"x": [Unreadable()]})

    def test_refuses_answers_that_contain_themselves_or_never_end(self):
        loop = []
        loop.append(loop)
        self.assertRaises(AnswerError, encode_answer, loop)
        deep = []
        for _ in range(100000):
            deep = [deep]
        self.assertRaises(AnswerError, encode_answer, deep)
        while deep:
            deep = deep.pop()

    def test_survives_half_of_a_surrogate_pair(self):
        self.assertEqual(through(["\ud83d"]), ["\ud83d"])


if __name__ == "__main__":
    unittest.main()
