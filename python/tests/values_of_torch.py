# coding: utf-8
"""Joining, answering and loading with the real torch; run by test/engines/values.test.ts in environments that have it."""
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest

import torch
from support import PYTHON_DIR

from modelport_worker import joining
from modelport_worker.answers import AnswerError, encode_answer

NEWER = [name for name in ("float8_e4m3fn",) if hasattr(torch, name)]


class Joining(unittest.TestCase):
    def test_tensors_come_apart_as_they_were_put_together(self):
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool):
            values = [torch.ones(2, 3).to(dtype), torch.zeros(0, 3).to(dtype), torch.ones(1, 3).to(dtype)]
            self.assertEqual(len(set(map(joining.signature, values))), 1)
            joined = joining.join(values)
            self.assertEqual((tuple(joined.shape), joined.dtype), ((3, 3), dtype))
            for piece, value in zip(joining.split(joined, [2, 0, 1]), values):
                self.assertTrue(torch.equal(piece, value))

    def test_dicts_of_tensors_and_arrays_are_joined_by_name(self):
        one = {"x": torch.ones(1, 2), "y": torch.ones(1).numpy()}
        other = {"x": torch.zeros(2, 2), "y": torch.zeros(2).numpy()}
        self.assertEqual(joining.signature(one), joining.signature(other))
        first, second = joining.split(joining.join([one, other]), [1, 2])
        self.assertTrue(torch.equal(first["x"], one["x"]) and torch.equal(second["x"], other["x"]))
        self.assertEqual((first["y"].tolist(), second["y"].tolist()), ([1.0], [0.0, 0.0]))

    def test_tensors_of_other_shapes_types_or_devices_are_not_joined(self):
        kinds = [torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 3).double(), torch.zeros(2, 3).bfloat16()]
        self.assertEqual(len(set(map(joining.signature, kinds))), 4)
        self.assertIsNone(joining.signature(torch.tensor(1.0)))
        with self.assertRaises(joining.NotSplittable):
            joining.split(torch.tensor(1.0), [1])


class Answers(unittest.TestCase):
    def test_each_value_has_one_outcome(self):
        dense = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
        cases = [
            (torch.tensor(3), 3),
            (torch.tensor([True]), [True]),
            (torch.tensor([1.5], requires_grad=True), [1.5]),
            (torch.nn.Parameter(torch.ones(2)), [1.0, 1.0]),
            (torch.tensor([1.5, float("nan"), float("-inf")]), [1.5, None, None]),
            (dense.to_sparse(), dense.tolist()),
            (torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.quint8), [1.0, 1.0]),
            (torch.ones(2, 3).size(), [2, 3]),
            (torch.tensor([3.0, 1.0]).max(0), [3.0, 0]),
            ({"w": torch.zeros(0, 3)}, {"w": []}),
        ]
        cases += [(torch.tensor([1.5, float("nan")]).to(dtype), [1.5, None]) for dtype in (torch.bfloat16, torch.float16)]
        cases += [(torch.tensor([1.5]).to(getattr(torch, name)), [1.5]) for name in NEWER]
        if hasattr(torch, "nested"):
            cases.append((torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), [[1.0], [1.0, 1.0]]))
        for value, expected in cases:
            self.assertEqual(json.loads(encode_answer({"v": value}).decode("utf-8")), {"v": expected}, repr(value))

    def test_what_has_no_form_is_refused_where_it_stands(self):
        refused = [torch.tensor([1j]), torch.float32, torch.device("cpu"), torch.nn.Linear(1, 1)]
        if hasattr(torch, "nested"):  # as old as the device without memory
            refused.append(torch.ones(2, device="meta"))
        for value in refused:
            with self.assertRaisesRegex(AnswerError, r"^answer\.v"):
                encode_answer({"v": value})


class Layer(torch.nn.Module):
    """Pickled whole below, under a name that both processes import."""

    def forward(self, rows):
        return rows * 2


class Loading(unittest.TestCase):
    def test_a_model_pickled_whole_is_read_as_before_weights_only(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "whole.pth")
            Layer.__module__ = "values_of_torch"
            sys.modules.setdefault("values_of_torch", sys.modules[__name__])
            torch.save(Layer(), path)
            code = (
                "import sys; sys.path[:0] = sys.argv[2:]\n"
                "from modelport_worker.compat import torch as shim; shim.install('')\n"
                "import torch; print(torch.load(sys.argv[1])(torch.ones(2)).tolist())\n"
            )
            here = os.path.dirname(os.path.abspath(__file__))
            environment = {name: value for name, value in os.environ.items() if not name.startswith("TORCH_")}
            out = subprocess.check_output([sys.executable, "-W", "ignore", "-c", code, path, PYTHON_DIR, here], env=environment)
            self.assertEqual(json.loads(out.decode()), [2.0, 2.0])

    def test_torchvision_has_the_names_it_gave_up(self):
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from modelport_worker import compat\nfrom modelport_worker.compat import torch as shim\n"
            "compat.install(); shim.install('')\nimport torchvision.transforms as t\n"
            "from PIL import Image\nprint(t.Scale((2, 3))(Image.new('L', (9, 9))).size[::-1], t.RandomSizedCrop(2).size)\n"
        )
        out = subprocess.check_output([sys.executable, "-W", "ignore", "-c", code, PYTHON_DIR])
        self.assertEqual(out.decode().strip(), "(2, 3) (2, 2)")

    def test_weights_checkpoints_and_the_format_before_1_6_are_read(self):
        layer = torch.nn.Linear(2, 1)
        checkpoint = {"model": layer.state_dict(), "optimizer": torch.optim.Adam(layer.parameters()).state_dict(), "epoch": 3}
        for new in (True, False):
            file = io.BytesIO()
            torch.save(checkpoint, file, _use_new_zipfile_serialization=new)
            file.seek(0)
            read = torch.load(file)
            self.assertTrue(torch.equal(read["model"]["weight"], layer.weight) and read["epoch"] == 3)


if __name__ == "__main__":
    unittest.main()
