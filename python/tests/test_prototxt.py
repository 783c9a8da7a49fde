# coding: utf-8
"""Caffe's text files without OpenCV or numpy: the reader alone."""
import importlib.util
import os
import unittest

from support import PYTHON_DIR

_SPEC = importlib.util.spec_from_file_location(
    "prototxt", os.path.join(PYTHON_DIR, "modelport_worker", "compat", "caffe_on_opencv", "prototxt.py")
)
prototxt = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(prototxt)

TEST, TRAIN = 1, 0
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape: { dim: 1 dim: 1 dim: 28 dim: 28 } } }\n'
CONV = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 } }\n'
PROB = 'layer { name: "prob" type: "Softmax" bottom: "conv" top: "prob" }\n'


class Prototxt(unittest.TestCase):
    def test_knows_inputs_outputs_and_who_makes_what(self):
        net = prototxt.describe(INPUT + CONV + PROB, TEST)
        self.assertEqual(dict(net.inputs), {"data": (1, 1, 28, 28)})
        self.assertEqual((net.outputs, dict(net.makers), net.surplus), (["prob"], {"conv": "conv", "prob": "prob"}, 0))

    def test_reads_inputs_of_the_old_header(self):
        net = prototxt.describe('name: "N" input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4 ' + CONV, TEST)
        self.assertEqual(dict(net.inputs), {"data": (1, 3, 4, 4)})

    def test_takes_the_layers_of_its_phase(self):
        dropout = 'layer { name: "drop" type: "Dropout" bottom: "conv" top: "drop" include { phase: TRAIN } }\n'
        self.assertEqual(prototxt.describe(INPUT + CONV + dropout, TEST).outputs, ["conv"])
        self.assertEqual(prototxt.describe(INPUT + CONV + dropout, TRAIN).outputs, ["drop"])

    def test_passes_over_closing_braces_after_whole_layers(self):
        for text in (INPUT + CONV + "}\n" + PROB, INPUT + CONV + PROB + "}\n}\n"):
            net = prototxt.describe(text, TEST)
            self.assertEqual(net.outputs, ["prob"])
            self.assertEqual(net.text.count("{"), net.text.count("}"))
            self.assertEqual(net.surplus, text.count("}") - text.count("{"))

    def test_refuses_a_closing_brace_that_cuts_a_layer_in_two(self):
        cut = CONV.replace("convolution_param", "} convolution_param")
        with self.assertRaisesRegex(ValueError, "leaves convolution_param outside of any layer"):
            prototxt.describe(INPUT + cut + PROB, TEST)

    def test_refuses_what_ends_inside_of_a_layer_and_what_is_no_prototxt(self):
        with self.assertRaisesRegex(ValueError, "ends inside of 1 open"):
            prototxt.describe(INPUT + CONV.rstrip()[:-1], TEST)
        with self.assertRaisesRegex(ValueError, "line 2"):
            prototxt.describe(INPUT + '"unclosed', TEST)

    def test_refuses_a_net_for_training(self):
        with self.assertRaisesRegex(ValueError, "describes no input"):
            prototxt.describe('layer { name: "data" type: "Data" top: "data" }\n' + CONV, TEST)


if __name__ == "__main__":
    unittest.main()
