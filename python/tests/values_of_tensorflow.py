# coding: utf-8
"""Joining, answering and the names of TensorFlow 1 with the real TensorFlow 2; run by test/engines/values.test.ts in environments that have it."""
import json
import os
import subprocess
import sys
import unittest

import numpy
import tensorflow as tf
from support import PYTHON_DIR, Package

from modelport_worker import joining
from modelport_worker.answers import AnswerError, encode_answer


class Joining(unittest.TestCase):
    def test_tensors_come_apart_as_they_were_put_together(self):
        for dtype in (tf.float32, tf.bfloat16, tf.float16, tf.int64, tf.bool):
            values = [tf.cast(tf.ones([rows, 3]), dtype) for rows in (2, 0, 1)]
            self.assertEqual(len(set(map(joining.signature, values))), 1)
            joined = joining.join(values)
            self.assertEqual((joined.shape.as_list(), joined.dtype), ([3, 3], dtype))
            for piece, rows in zip(joining.split(joined, [2, 0, 1]), (2, 0, 1)):
                self.assertEqual((piece.shape.as_list(), piece.dtype), ([rows, 3], dtype))

    def test_texts_come_apart_as_they_were_put_together(self):
        values = [tf.constant(["a", "b"]), tf.constant(["c"])]
        first, second = joining.split(joining.join(values), [2, 1])
        self.assertEqual((first.numpy().tolist(), second.numpy().tolist()), ([b"a", b"b"], [b"c"]))

    def test_dicts_of_tensors_and_arrays_are_joined_by_name(self):
        one = {"x": tf.ones([1, 2]), "y": numpy.ones(1)}
        other = {"x": tf.zeros([2, 2]), "y": numpy.zeros(2)}
        self.assertEqual(joining.signature(one), joining.signature(other))
        first, second = joining.split(joining.join([one, other]), [1, 2])
        self.assertEqual((first["x"].numpy().tolist(), first["y"].tolist()), ([[1.0, 1.0]], [1.0]))
        self.assertEqual((second["x"].numpy().tolist(), second["y"].tolist()), ([[0.0, 0.0]] * 2, [0.0, 0.0]))

    def test_tensors_of_other_shapes_or_types_and_ragged_ones_are_not_joined(self):
        kinds = [tf.zeros([2, 3]), tf.zeros([2, 4]), tf.zeros([2, 3], tf.bfloat16)]
        self.assertEqual(len(set(map(joining.signature, kinds))), 3)
        for alone in (tf.constant(1.0), tf.ragged.constant([[1], [2, 3]]), tf.sparse.from_dense([[0, 1]])):
            self.assertIsNone(joining.signature(alone))
        with self.assertRaises(joining.NotSplittable):
            joining.split(tf.constant(1.0), [1])


class Answers(unittest.TestCase):
    def test_each_value_has_one_outcome(self):
        cases = [
            (tf.constant([[1, 2]]), [[1, 2]]),
            (tf.constant(3), 3),
            (tf.constant([True]), [True]),
            (tf.constant(2 ** 64 - 1, tf.uint64), 2 ** 64 - 1),
            (tf.constant([1.5, float("nan"), float("inf")]), [1.5, None, None]),
            (tf.constant(["a", "ü"]), ["a", "ü"]),
            (tf.constant(b"\xff"), "/w=="),
            (tf.Variable([1.5]), [1.5]),
            (tf.ragged.constant([[1], [2, 3]]), [[1], [2, 3]]),
            (tf.ragged.constant([["a"], []]), [["a"], []]),
            (tf.sparse.from_dense([[0, 1], [2, 0]]), [[0, 1], [2, 0]]),
            (tf.TensorShape([2, None]), [2, None]),
            (tf.zeros([0, 3]), []),
            ([tf.constant(1.0), {"x": tf.constant([2.0])}], [1.0, {"x": [2.0]}]),
        ]
        for dtype in (tf.bfloat16, tf.float16):
            value = tf.cast([1.5, float("nan")], dtype)
            cases += [(value, [1.5, None]), (value.numpy(), [1.5, None]), (value[0].numpy(), 1.5)]
        for value, expected in cases:
            self.assertEqual(json.loads(encode_answer({"v": value}).decode("utf-8")), {"v": expected}, repr(value))

    def test_what_has_no_form_is_refused_where_it_stands(self):
        with tf.Graph().as_default():
            of_a_graph = tf.constant(1.0)
        for value in (of_a_graph, tf.constant([1j]), tf.float32, tf.keras.layers.Dense(1), tf.data.Dataset.range(3)):
            with self.assertRaisesRegex(AnswerError, r"^answer\.v"):
                encode_answer({"v": value})

# Names the guide's scripts use (contracts/engines.md 3.1), and what TensorFlow 2 has under names of its own.
ADDED = """
import sys
from modelport_worker import compat
from modelport_worker.compat import tensorflow1
compat.install()
tensorflow1.install(sys.argv[1])
import tensorflow as tf
for name in ("Session", "placeholder", "FixedLenFeature", "parse_example", "log", "to_int64", "tables_initializer",
             "train.GradientDescentOptimizer", "saved_model.loader.load", "saved_model.builder.SavedModelBuilder",
             "saved_model.tag_constants.SERVING", "saved_model.utils.build_tensor_info",
             "saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY",
             "saved_model.signature_def_utils.predict_signature_def"):
    found = tf
    for part in name.split("."):
        found = getattr(found, part)
"""
STILL_TWO = """
assert tf.executing_eagerly() and tf.constant([1.0]).numpy().tolist() == [1.0]
for place, name in ((tf, "Variable"), (tf.saved_model, "load"), (tf.nn, "max_pool"), (tf.losses, "Loss")):
    old = getattr(tf.compat.v1, place.__name__.rpartition(".")[2], tf.compat.v1) if place is not tf else tf.compat.v1
    assert getattr(place, name) is not getattr(old, name, None), name
with tf.Session(graph=tf.Graph()) as session:
    print(session.run(tf.log(tf.compat.v1.placeholder_with_default([1.0], [1]))).tolist())
"""
DEFAULT_GRAPH = """
assert not tf.executing_eagerly()
session = tf.InteractiveSession()
rows = tf.placeholder(tf.float32, [None])
print(session.run(rows * 2, {rows: [1.0, 2.0]}).tolist())
"""


class NamesOfTensorFlow1(unittest.TestCase):
    def run_with(self, script, code):
        package = Package(customize_service=script)
        self.addCleanup(package.remove)
        out = subprocess.check_output(
            [sys.executable, "-W", "ignore", "-c", ADDED + code, package.dir],
            env=dict(os.environ, PYTHONPATH=PYTHON_DIR, TF_CPP_MIN_LOG_LEVEL="2"), stderr=subprocess.DEVNULL
        )
        return json.loads(out.decode().strip().split("\n")[-1])

    def test_are_there_beside_those_of_the_second_which_stay(self):
        self.assertEqual(self.run_with("sess = tf.Session(graph=tf.Graph())", STILL_TWO), [0.0])

    def test_work_on_the_default_graph_for_packages_that_build_it(self):
        self.assertEqual(self.run_with("x = tf.placeholder(tf.float32)", DEFAULT_GRAPH), [2.0, 4.0])


if __name__ == "__main__":
    unittest.main()
