# coding: utf-8
"""The base class of MindSpore packages (contract: the guide's chapter 4.1.3)."""
import os

from model_service.base import BaseService

_ASCEND_ONLY = {
    ".om": "is compiled for Ascend processors; export the network as *.mindir",
    ".air": "can be compiled for Ascend processors only; export the network as *.mindir",
}


class SingleNodeService(BaseService):
    """For *.mindir, `_inference` runs the network: `_preprocess` returns name -> array in the order of its inputs, a list
    of arrays, or one array; it returns the output as a nested list, or a list of them. For *.ckpt, which holds only
    parameters, the package builds the network and defines `_inference` itself."""

    _default_model = None

    def __init__(self, model_name="", model_path=""):
        self.model_name = model_name
        self.model_path = model_path
        _refuse_ascend_forms(model_path)

    def _inference(self, data):
        return (self._default_model or self.load_default_model())(data)

    def load_default_model(self):
        """Loads the network of a *.mindir. Returns data -> outputs."""
        _refuse_ascend_forms(self.model_path)
        if not self.model_path.endswith(".mindir"):
            raise ValueError(
                "%s holds parameters and no network: build the network in customize_service.py, fill it with "
                "mindspore.load_param_into_net, and define _inference; or export it as *.mindir"
                % os.path.basename(self.model_path)
            )
        import mindspore

        network = mindspore.nn.GraphCell(mindspore.load(self.model_path))
        self._default_model = lambda data: _run(mindspore, network, data)
        return self._default_model


def _run(mindspore, network, data):
    if isinstance(data, dict):
        given = list(data.values())
    else:
        given = list(data) if isinstance(data, (list, tuple)) and data and hasattr(data[0], "shape") else [data]
    outputs = network(*[value if isinstance(value, mindspore.Tensor) else _tensor(mindspore, value) for value in given])
    return [output.asnumpy().tolist() for output in outputs] if isinstance(outputs, tuple) else outputs.asnumpy().tolist()


def _tensor(mindspore, value):
    import numpy

    array = numpy.asarray(value)
    # Networks are of 32 bits; lists of Python numbers are not.
    return mindspore.Tensor(array.astype(numpy.float32) if array.dtype == numpy.float64 else array)


def _refuse_ascend_forms(path):
    suffix = os.path.splitext(path)[1]
    if suffix in _ASCEND_ONLY:
        raise ValueError("%s %s" % (os.path.basename(path), _ASCEND_ONLY[suffix]))
