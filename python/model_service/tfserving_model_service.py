# coding: utf-8
"""The base class of TensorFlow packages (contract: the guide's chapters 4.1.3, 4.3.1 and 4.3.2)."""
from model_service.base import BaseService

_DEFAULT_SIGNATURE = "serving_default"
_SERVING_TAG = "serve"


class TfServingBaseService(BaseService):
    """`_preprocess` gets files and fields, or parsed JSON; `_inference` feeds name -> array to the SavedModel's
    signature and returns name -> nested list. Packages that override `__init__` may load the model as they like: the
    one here is loaded only where this `_inference` is used."""

    _default_model = None

    def __init__(self, model_name="", model_path=""):
        self.model_name = model_name
        self.model_path = model_path

    def _inference(self, data):
        return (self._default_model or self.load_default_model())(data)

    def load_default_model(self):
        """Loads the SavedModel at `model_path`. Returns name -> array to name -> nested list."""
        self._default_model = _SavedModel(self.model_path)
        return self._default_model


class _SavedModel(object):
    """One signature of a SavedModel, whichever TensorFlow wrote it, in a graph of its own."""

    def __init__(self, path):
        import tensorflow

        v1 = getattr(getattr(tensorflow, "compat", None), "v1", tensorflow)  # TensorFlow 1.8 is v1 itself
        session = v1.Session(graph=v1.Graph())
        signatures = v1.saved_model.loader.load(session, [_SERVING_TAG], path).signature_def
        name = _choose(signatures)
        graph = session.graph
        self._inputs = [
            (key, graph.get_tensor_by_name(info.name), v1.as_dtype(info.dtype).as_numpy_dtype)
            for key, info in sorted(signatures[name].inputs.items())
        ]
        outputs = {key: graph.get_tensor_by_name(info.name) for key, info in signatures[name].outputs.items()}
        # The callable spares each prediction the look-up of what to feed and what to fetch.
        self._run = session.make_callable(outputs, feed_list=[tensor for _, tensor, _ in self._inputs])

    def __call__(self, data):
        import numpy

        names = [key for key, _, _ in self._inputs]
        if not isinstance(data, dict):
            if len(names) != 1:
                raise TypeError("the model's inputs are %s; data must be a dict of them" % ", ".join(names))
            data = {names[0]: data}
        if set(data) != set(names):
            raise KeyError("the model's inputs are %s; data has %s" % (", ".join(names), ", ".join(map(str, data))))
        result = self._run(*[numpy.asarray(data[key], dtype=dtype) for key, _, dtype in self._inputs])
        return {key: value.tolist() for key, value in result.items()}


def _choose(signatures):
    names = sorted(name for name in signatures if not name.startswith("__"))
    if _DEFAULT_SIGNATURE in names:
        return _DEFAULT_SIGNATURE
    if len(names) == 1:
        return names[0]
    raise ValueError(
        "the model has the signatures %s; one of them must be named %s, or there must be only one"
        % (", ".join(names) or "(none)", _DEFAULT_SIGNATURE)
    )
