# coding: utf-8
"""The base class of MXNet packages (contract: the guide's table 4-9 and chapter 4.2.2.4)."""
import collections
import glob
import json
import os
import re

from model_service.base import BaseService


class MXNetBaseService(BaseService):
    """The constructor loads `self.mx_model` (a Module) from *-symbol.json and *-NNNN.params. `_inference` feeds a list of
    arrays, one per input, or name -> array, and returns the list of outputs; `_postprocess` makes nested lists of them.

    Input shapes need not be told: the module is bound at the first prediction, and again when shapes change. A
    signature.json beside the model, as multi-model-server has it, names the inputs' order."""

    mx_model = None
    ctx = None

    def __init__(self, model_name="", model_path="", *unused, **also_unused):
        import mxnet

        self.model_name = model_name
        self.model_path = model_path
        self.ctx = mxnet.cpu()
        prefix, epoch = _checkpoint(model_path)
        self._symbol, self._arguments, self._auxiliary = mxnet.model.load_checkpoint(prefix, epoch)
        self._signature = _signature(model_path)
        names = [entry["data_name"] for entry in (self._signature or {}).get("inputs", [])]
        self.data_names = names or _inputs(self._symbol, self._arguments)
        self.mx_model = mxnet.mod.Module(
            symbol=self._symbol, context=self.ctx, data_names=self.data_names, label_names=None
        )

    def signature(self):
        return self._signature

    def _inference(self, data):
        import mxnet

        arrays = [mxnet.nd.array(array) for array in self._in_order(data)]
        shapes = [(name, array.shape) for name, array in zip(self.data_names, arrays)]
        module = self.mx_model
        if not module.binded:
            module.bind(for_training=False, data_shapes=shapes)
            # The label of a net that was trained is an argument nobody has a value for.
            module.set_params(self._arguments, self._auxiliary, allow_missing=True)
        elif [tuple(known[:2]) for known in module.data_shapes] != shapes:
            module.reshape(data_shapes=shapes)
        module.forward(mxnet.io.DataBatch(arrays), is_train=False)
        return module.get_outputs()

    def _postprocess(self, data):
        return [array.asnumpy().tolist() if hasattr(array, "asnumpy") else array for array in data]

    def _in_order(self, data):
        if isinstance(data, dict):
            if set(data) != set(self.data_names):
                raise KeyError(
                    "the model's inputs are %s; data has %s" % (", ".join(self.data_names), ", ".join(map(str, data)))
                )
            return [data[name] for name in self.data_names]
        if isinstance(data, (list, tuple)) and len(data) == len(self.data_names) and hasattr(data[0], "shape"):
            return data
        if len(self.data_names) == 1:
            return [data]
        raise TypeError("the model has %d inputs (%s)" % (len(self.data_names), ", ".join(self.data_names)))


def check_input_shape(inputs, signature):
    """As multi-model-server checks: as many inputs as the signature has, of its shapes; 0 stands for any size."""
    expected = [tuple(entry["data_shape"]) for entry in signature["inputs"]]
    if len(inputs) != len(expected):
        raise ValueError("Input number mismatches with the signature: %d given, %d expected" % (len(inputs), len(expected)))
    for array, shape in zip(inputs, expected):
        fits = len(array.shape) == len(shape) and all(want in (0, have) for want, have in zip(shape, array.shape))
        if not fits:
            raise ValueError("Input has shape %s, and the signature says %s" % (tuple(array.shape), shape))


def _checkpoint(folder):
    """(prefix, epoch) of the one model of the folder; of several epochs, the last."""
    found = collections.defaultdict(list)
    for path in glob.glob(os.path.join(glob.escape(folder), "*.params")):
        match = re.match(r"(.+)-(\d{4})\.params$", path)
        if match is not None and os.path.isfile(match.group(1) + "-symbol.json"):
            found[match.group(1)].append(int(match.group(2)))
    if len(found) != 1:
        raise ValueError(
            "the package must hold exactly one model NAME-symbol.json with its NAME-NNNN.params; found %s"
            % (", ".join(sorted(os.path.basename(prefix) for prefix in found)) or "none")
        )
    prefix, epochs = found.popitem()
    return prefix, max(epochs)


def _signature(folder):
    path = os.path.join(folder, "signature.json")
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _inputs(symbol, arguments):
    """What has no trained value is an input, but for labels."""
    names = [name for name in symbol.list_arguments() if name not in arguments]
    return [name for name in names if not name.endswith("label")] or names
