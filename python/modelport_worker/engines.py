# coding: utf-8
"""What differs between engines: which base class a service has, what `_preprocess` is given, how answers are wrapped."""
import json
import os

from modelport_worker.answers import AnswerError, encode_answer
from modelport_worker.loading import PackageError, construct, find_service_class, import_customize_service


class MachineLearningEngine(object):
    """Scikit_Learn and XGBoost: the raw body goes in, a list of results comes out."""

    def __init__(self, load):
        from model_service import base
        from model_service.python_model_service import XgSklServingBaseService

        # Times of the steps of the prediction under way; stays empty when user code replaces `inference` itself.
        self.steps = base.steps
        path = _model_path(load["packageDir"], load["modelFile"])
        module = import_customize_service(load["packageDir"])
        if module is None:
            self._service = XgSklServingBaseService(path)
            self._service.load_default_model()
        else:
            self._service = construct(find_service_class(module, XgSklServingBaseService), load["modelName"], path)
        self.name = type(self._service).__name__
        self._inference = self._service.inference

    def predict(self, header, body):
        """JSON bytes of the answer to one request."""
        result = self._inference(body)
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


def _meta(body):
    try:
        request = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return request.get("meta") if isinstance(request, dict) else None


def _model_path(package_dir, model_file):
    if model_file:
        return os.path.join(package_dir, model_file)
    models = sorted(name for name in os.listdir(package_dir) if name.endswith(".m"))
    if len(models) != 1:
        raise PackageError(
            "the package must hold exactly one model file *.m beside config.json; found %s"
            % (", ".join(models) if models else "none")
        )
    return os.path.join(package_dir, models[0])


_ENGINES = {"Scikit_Learn": MachineLearningEngine, "XGBoost": MachineLearningEngine}


def open_engine(load):
    """The loaded engine for a `load` frame; raises what user code raises."""
    try:
        engine = _ENGINES[load["engine"]]
    except KeyError:
        raise PackageError("this worker has no engine named %s" % load["engine"])
    return engine(load)
