# coding: utf-8
"""Joining and answering with the real numpy and pandas; run by src/modelserver/joining.system.test.ts in an environment
that has them."""
import json
import unittest

import numpy
import pandas
import support  # noqa: F401  puts the worker on the path

from modelport_worker import joining
from modelport_worker.answers import AnswerError, encode_answer


class Joining(unittest.TestCase):
    def test_arrays_come_apart_as_they_were_put_together(self):
        values = [numpy.arange(6.0).reshape(2, 3), numpy.zeros((0, 3)), numpy.ones((1, 3))]
        self.assertEqual(len(set(map(joining.signature, values))), 1)
        pieces = joining.split(joining.join(values), [2, 0, 1])
        for piece, value in zip(pieces, values):
            numpy.testing.assert_array_equal(piece, value)

    def test_frames_come_apart_with_their_rows_counted_anew(self):
        values = [pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}), pandas.DataFrame({"a": [3], "b": ["z"]})]
        pieces = joining.split(joining.join(values), [2, 1])
        for piece, value in zip(pieces, values):
            pandas.testing.assert_frame_equal(piece, value)
        series = joining.split(pandas.Series([1, 2, 3]), [2, 1])
        self.assertEqual([list(one) for one in series], [[1, 2], [3]])

    def test_arrays_of_other_shapes_or_types_are_not_joined(self):
        kinds = [numpy.zeros((2, 3)), numpy.zeros((2, 4)), numpy.zeros((2, 3), "f4")]
        self.assertEqual(len(set(map(joining.signature, kinds))), 3)
        self.assertIsNone(joining.signature(numpy.zeros(())))
        self.assertIsNone(joining.signature(numpy.zeros(2, dtype=[("a", "i4")])))
        with self.assertRaises(joining.NotSplittable):
            joining.split(numpy.float64(1).reshape(()), [1])

    def test_frames_of_other_columns_or_types_are_not_joined(self):
        frames = [pandas.DataFrame({"a": [1]}), pandas.DataFrame({"b": [1]}), pandas.DataFrame({"a": [1.5]})]
        self.assertEqual(len(set(map(joining.signature, frames))), 3)

    def test_dicts_of_arrays_are_joined_by_name(self):
        one, other = {"x": numpy.ones((1, 2))}, {"x": numpy.zeros((2, 2))}
        self.assertEqual(joining.signature(one), joining.signature(other))
        first, second = joining.split(joining.join([one, other]), [1, 2])
        numpy.testing.assert_array_equal(first["x"], one["x"])
        numpy.testing.assert_array_equal(second["x"], other["x"])


class Answers(unittest.TestCase):
    def test_each_value_has_one_outcome(self):
        for value, expected in (
            (numpy.float16(1.5), 1.5),
            (numpy.longdouble(1.5), 1.5),
            (numpy.array([1.5], "longdouble"), [1.5]),
            (numpy.array([numpy.nan, numpy.inf, 1.0], "f4"), [None, None, 1.0]),
            (numpy.ma.array([1, 2], mask=[0, 1]), [1, None]),
            (numpy.array([b"a", b"\xff"]), ["a", "/w=="]),
            (numpy.datetime64("2026-01-02"), "2026-01-02"),
            (numpy.datetime64("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456"),
            (numpy.array(["2026-01-02", "NaT"], "M8[ns]"), ["2026-01-02T00:00:00", None]),
            (numpy.array([1500], "m8[ms]"), [1.5]),
            (numpy.timedelta64(1500000000, "ns"), 1.5),
            (pandas.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
            (pandas.Series([1.5, None]), [1.5, None]),
            (pandas.DataFrame({"at": [pandas.Timestamp("2026-01-02"), pandas.NaT]}), [{"at": "2026-01-02T00:00:00"}, {"at": None}]),
            (pandas.Series(["a"]).astype("category"), ["a"]),
        ):
            self.assertEqual(json.loads(encode_answer({"v": value}).decode("utf-8")), {"v": expected}, repr(value))

    def test_complex_numbers_are_refused_where_they_stand(self):
        for value in (numpy.array([1j]), numpy.complex64(1j), numpy.clongdouble(1j)):
            with self.assertRaisesRegex(AnswerError, r"^answer\.v.*complex"):
                encode_answer({"v": value})


if __name__ == "__main__":
    unittest.main()
