# coding: utf-8
"""caffe.Net for inference: named blobs that are written before `forward()` and read after it."""
import collections
import logging

import numpy as np

from . import prototxt

logger = logging.getLogger("modelport")


class Blob(object):
    """`data` of an input is an array that `forward()` reads; `data` of any other blob is the last forward's."""

    def __init__(self, net, name, shape=None):
        self._net = net
        self._name = name
        self._data = None if shape is None else np.zeros(shape, dtype=np.float32)

    @property
    def data(self):
        if self._data is None:
            self._data = self._net._compute(self._name)
        return self._data

    @property
    def shape(self):
        return self.data.shape

    @property
    def count(self):
        return self.data.size

    num = property(lambda self: self._legacy(0))
    channels = property(lambda self: self._legacy(1))
    height = property(lambda self: self._legacy(2))
    width = property(lambda self: self._legacy(3))

    def _legacy(self, axis):
        return self.shape[axis] if axis < len(self.shape) else 1

    def reshape(self, *dims):
        dims = tuple(int(size) for size in dims)
        if self._data is None or self._data.shape != dims:
            self._data = np.zeros(dims, dtype=np.float32)


class Net(object):
    """Net(prototxt, weights, phase) and Net(prototxt, phase, weights=...), as pycaffe has both."""

    def __init__(self, network_file, *args, **kwargs):
        import cv2

        if not hasattr(cv2, "dnn") or not hasattr(cv2.dnn, "readNetFromCaffe"):
            raise RuntimeError(
                "OpenCV %s has no reader for Caffe models; the last that has is version 4 "
                "(opencv-python-headless<5)" % cv2.__version__
            )
        phase, weights = kwargs.get("phase", 1), kwargs.get("weights")
        for argument in args:
            if isinstance(argument, int):
                phase = argument
            elif argument is not None:
                weights = argument
        if weights is None:
            raise ValueError("caffe.Net(%r): no weights are given; training from none needs Caffe itself" % network_file)
        with open(network_file, "rb") as file:
            description = prototxt.describe(file.read().decode("utf-8"), 1 if phase is None else phase)
        if description.surplus:
            logger.warning("%s: %d closing braces too many were ignored", network_file, description.surplus)
        with open(weights, "rb") as file:
            binary = file.read()
        # OpenCV reads the text form by itself as well; it gets the one without surplus braces, which it refuses.
        self._net = cv2.dnn.readNetFromCaffe(
            np.frombuffer(description.text.encode("utf-8"), dtype=np.uint8), np.frombuffer(binary, dtype=np.uint8)
        )
        self._net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        self._was_fed = False
        self._makers = description.makers
        self.inputs = list(description.inputs)
        self.outputs = list(description.outputs)
        self.blobs = collections.OrderedDict(
            [(name, Blob(self, name, shape)) for name, shape in description.inputs.items()]
            + [(name, Blob(self, name)) for name in description.makers]
        )

    def reshape(self):
        """Shapes follow the inputs at every forward."""

    def forward(self, blobs=None, start=None, end=None, **kwargs):
        """Runs the net on the inputs' data. Returns name -> array of the outputs, or up to the layer `end`, and `blobs`."""
        if start is not None:
            raise NotImplementedError("Net.forward(start=...) needs Caffe itself; run the whole net")
        unknown = set(kwargs) - set(self.inputs)
        if unknown:
            raise Exception("Input blob arguments do not match net inputs: %s" % ", ".join(sorted(unknown)))
        for name, array in kwargs.items():
            array = np.asarray(array)
            if array.shape[0] != self.blobs[name].shape[0]:
                raise Exception("Input is not batch sized")
            self.blobs[name].data[...] = array
        self._feed()
        wanted = [end] if end is not None and end in self.blobs else list(self.outputs) if end is None else self._tops(end)
        wanted += [name for name in blobs or () if name not in wanted]
        made = [name for name in wanted if name in self._makers]
        arrays = dict(zip(made, self._net.forward([self._makers[name] for name in made])))
        for name, array in arrays.items():
            # A copy: OpenCV writes the next forward into the same memory, and answers may outlive it.
            self.blobs[name]._data = np.array(array)
        return {name: self.blobs[name].data for name in wanted}

    def _feed(self):
        for name, blob in self.blobs.items():
            if name in self.inputs:
                self._net.setInput(np.ascontiguousarray(blob.data, dtype=np.float32), name)
            else:
                blob._data = None
        self._was_fed = True

    def _compute(self, name):
        """A blob in the middle of the net: made when it is looked at, from the inputs of the last forward."""
        if not self._was_fed:
            self._feed()
        return np.array(self._net.forward(self._makers[name]))

    def _tops(self, layer):
        tops = [name for name, maker in self._makers.items() if maker == layer]
        if not tops:
            raise ValueError("the net has no layer %s" % layer)
        return tops

    def forward_all(self, blobs=None, **kwargs):
        """`forward` over more rows than the batch holds; the last batch is filled up and cut again."""
        size = self.blobs[self.inputs[0]].shape[0]
        rows = len(next(iter(kwargs.values())))
        parts = collections.OrderedDict()
        for begin in range(0, rows, size):
            batch = {}
            for name, array in kwargs.items():
                part = np.asarray(array)[begin : begin + size]
                fill = np.zeros((size - len(part),) + part.shape[1:], dtype=part.dtype)
                batch[name] = np.concatenate([part, fill]) if len(fill) else part
            for name, array in self.forward(blobs, **batch).items():
                parts.setdefault(name, []).append(array)
        return {name: np.concatenate(arrays)[:rows] for name, arrays in parts.items()}

    def backward(self, *args, **kwargs):
        raise NotImplementedError("training needs Caffe itself; this platform reads Caffe models with OpenCV")
