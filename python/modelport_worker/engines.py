# coding: utf-8
"""What differs between engines: the base class, what a service is given and where its model lies, how answers are
wrapped. One table; everything that reads it treats all engines alike."""
import collections
import collections.abc
import glob
import importlib
import json
import os

from modelport_worker import pickles
from modelport_worker.answers import AnswerError, encode_answer
from modelport_worker.loading import PackageError, construct, find_service_class, import_customize_service
from modelport_worker.requests import InputError, read_request

# Request forms. DEEP: files and fields, or parsed JSON; the answer is sent as it is. MACHINE: the raw body; the answer
# is wrapped in data.resp_data.
DEEP, MACHINE = "deep", "machine"

# form: DEEP or MACHINE. module, base: the class that services derive from. arguments: how many of (model_name,
# model_path) a constructor gets that leaves it open. path: what model_path is, see _model_path. compat: a module with
# install(package_dir) that is called before the package is imported, or None.
Engine = collections.namedtuple("Engine", "form module base arguments path compat")

ENGINES = {
    "TensorFlow": Engine(DEEP, "model_service.tfserving_model_service", "TfServingBaseService", 2,
                         ("folder", "saved_model.pb"), "modelport_worker.compat.tensorflow1"),
    "PyTorch": Engine(DEEP, "model_service.pytorch_model_service", "PTServingBaseService", 2,
                      ("file", "*.pth", "*.pt"), "modelport_worker.compat.torch"),
    "MindSpore": Engine(DEEP, "model_service.model_service", "SingleNodeService", 2,
                        ("file", "*.mindir", "*.ckpt", "*.om", "*.air"), None),
    "Caffe": Engine(DEEP, "model_service.caffe_model_service", "CaffeBaseService", 2,
                    ("folder", "*.caffemodel"), "modelport_worker.compat.caffe"),
    "MXNet": Engine(DEEP, "mms.model_service.mxnet_model_service", "MXNetBaseService", 2,
                    ("folder", "*-symbol.json"), None),
    "Spark_MLlib": Engine(MACHINE, "model_service.spark_model_service", "SparkServingBaseService", 1,
                          ("file", "*/metadata", "metadata"), "modelport_worker.compat.spark"),
    "Scikit_Learn": Engine(MACHINE, "model_service.python_model_service", "XgSklServingBaseService", 1,
                           ("file", "*.m"), None),
    "XGBoost": Engine(MACHINE, "model_service.python_model_service", "XgSklServingBaseService", 1,
                      ("file", "*.m"), None),
}


class _OpenEngine(object):
    """A loaded service. `steps` holds the times of the prediction under way; it stays empty when user code replaces
    `inference` itself."""

    def __init__(self, engine, load):
        from model_service import base

        self.steps = base.steps
        path = _model_path(engine.path, load["packageDir"], load["modelFile"])
        if engine.compat is not None:
            importlib.import_module(engine.compat).install(load["packageDir"])
        base_class = getattr(importlib.import_module(engine.module), engine.base)
        module = import_customize_service(load["packageDir"])
        if engine.path == ("file", "*.m"):
            pickles.try_old(path)
        if module is not None:
            service = construct(find_service_class(module, base_class), load["modelName"], path, engine.arguments)
        elif hasattr(base_class, "load_default_model"):
            service = construct(base_class, load["modelName"], path, engine.arguments)
        else:
            raise PackageError("customize_service.py is missing; %s serves no model without it" % load["engine"])
        if hasattr(service, "load_default_model") and _uses_default(service, base_class):
            service.load_default_model()
        self._service = service
        self.name = type(service).__name__
        self._inference = service.inference
        # Whether the steps can be called by themselves: user code that replaces `inference` decides about them itself.
        self.has_steps = isinstance(service, base.BaseService) and type(service).inference is base.BaseService.inference
        self._preprocess = base.preprocess

    def predict(self, header, body):
        """JSON bytes of the answer to one request."""
        return self._wrap(self._inference(self._read(header, body)), body)

    def predict_stream(self, header, body):
        """The items of an answer that is an iterator, each as JSON bytes, for a caller who takes them one by one; the JSON
        bytes of any other answer."""
        result = self._inference(self._read(header, body))
        return map(encode_answer, result) if isinstance(result, collections.abc.Iterator) else self._wrap(result, body)

    def prepare(self, header, body):
        """The first step by itself; `infer` and `finish` are the others."""
        return self._preprocess(self._service, self._read(header, body))

    def infer(self, prepared):
        return self._service._inference(prepared)

    def finish(self, result, body):
        """JSON bytes of the answer from the result of `infer`."""
        return self._wrap(self._service._postprocess(result), body)


class MachineLearningEngine(_OpenEngine):
    """The raw body goes in, a list of results comes out."""

    def _read(self, header, body):
        return body

    def _wrap(self, result, body):
        if isinstance(result, dict) and ("data" in result or "resp_data" in result):
            return encode_answer(result)
        answer = {"data": {"resp_data": result}}
        # The body is parsed a second time only for the few requests that may carry `meta`.
        if b'"meta"' in body:
            meta = _meta(body)
            if meta is not None:
                answer = {"meta": meta, "data": answer["data"]}
        return encode_answer(answer)

    def classify(self, error, body):
        """What to call a failure: `input` (unusable body), `lookup` (KeyError, TypeError) or `code` (anything else)."""
        if not isinstance(error, AnswerError):
            try:
                json.loads(body.decode("utf-8"))
            except (ValueError, RecursionError):
                return "input"
            if isinstance(error, (KeyError, TypeError)):
                return "lookup"
        return "code"


class DeepLearningEngine(_OpenEngine):
    """Files and fields, or parsed JSON, go in; what comes out is the answer."""

    def _read(self, header, body):
        return read_request(header, body)

    def _wrap(self, result, body):
        return encode_answer(result)

    def classify(self, error, body):
        """`input`, `lookup` or `code`, as above; here the request is read before user code sees it."""
        if isinstance(error, InputError):
            return "input"
        return "lookup" if isinstance(error, (KeyError, TypeError)) else "code"


_FORMS = {DEEP: DeepLearningEngine, MACHINE: MachineLearningEngine}


def open_engine(load):
    """The loaded engine for a `load` frame; raises what user code raises."""
    try:
        engine = ENGINES[load["engine"]]
    except KeyError:
        raise PackageError("this worker has no engine named %s" % load["engine"])
    return _FORMS[engine.form](engine, load)


def _uses_default(service, base_class):
    """Whether predictions reach the base class's own `_inference`, so that its model is loaded before the first one."""
    kind = type(service)
    return kind.inference is base_class.inference and kind._inference is base_class._inference


def _meta(body):
    try:
        request = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return request.get("meta") if isinstance(request, dict) else None


def _model_path(kind, package_dir, model_file):
    """`model_path` of a package. ("file", patterns...): the one file found by them, or the saved folder whose
    `metadata` is found. ("folder", pattern): the folder that holds the file, the package's own when there is none."""
    what, patterns = kind[0], kind[1:]
    if model_file:
        named = os.path.join(package_dir, model_file)
        return os.path.dirname(named) if what == "folder" and not os.path.isdir(named) else named
    found = sorted({path for pattern in patterns for path in glob.glob(os.path.join(glob.escape(package_dir), pattern))})
    if what == "folder":
        deeper = glob.glob(os.path.join(glob.escape(package_dir), "*", patterns[0]))
        return os.path.dirname(deeper[0]) if not found and len(deeper) == 1 else package_dir
    if len(found) != 1:
        raise PackageError(
            "the package must hold exactly one model %s beside config.json; found %s"
            % (" or ".join(patterns), ", ".join(os.path.relpath(path, package_dir) for path in found) or "none")
        )
    return os.path.dirname(found[0]) if os.path.basename(patterns[0]) == "metadata" else found[0]
