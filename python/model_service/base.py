# coding: utf-8
"""What all base classes share: the order of the three steps, their timing, and constructors that accept both forms.

Subclasses often replace `__init__` without calling this one, so nothing here may rely on state that `__init__` sets;
the worker sets `model_name` and `model_path` on the object before it runs the constructor.
"""
import inspect
import logging
import time

logger = logging.getLogger("model_service")

# When the prediction under way reached each step: its begin and the end of each step so far. The worker empties it
# before a prediction and reads it afterwards. Not kept on the service, whose class may have __slots__ or any names.
steps = []  # type: list


class BaseService(object):
    """The three overridable steps of a prediction around one loaded model."""

    model_name = ""
    model_path = ""

    def __init__(self, *args, **kwargs):
        # (model_path) for machine-learning engines, (model_name, model_path) for the others; both are accepted
        # because packages that were moved between engines keep the call they had.
        if len(args) == 1:
            self.model_path = args[0]
        elif len(args) >= 2:
            self.model_name, self.model_path = args[0], args[1]
        for name in ("model_name", "model_path"):
            if name in kwargs:
                setattr(self, name, kwargs[name])

    def inference(self, data):
        """Runs one prediction: `_preprocess`, `_inference`, `_postprocess`; logs the milliseconds of each at INFO."""
        del steps[:]
        t0 = time.perf_counter()
        steps.append(t0)
        prepared = preprocess(self, data)
        t1 = time.perf_counter()
        steps.append(t1)
        result = self._inference(prepared)
        t2 = time.perf_counter()
        steps.append(t2)
        answer = self._postprocess(result)
        t3 = time.perf_counter()
        steps.append(t3)
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "preprocess %.3f ms, inference %.3f ms, postprocess %.3f ms",
                (t1 - t0) * 1000.0,
                (t2 - t1) * 1000.0,
                (t3 - t2) * 1000.0,
            )
        return answer

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        raise NotImplementedError("%s does not define _inference" % type(self).__name__)

    def _postprocess(self, data):
        return data

    def ping(self):
        return True

    def signature(self):
        return None


def preprocess(service, data):
    """The first step, with the second argument that older packages require."""
    if _wants_second_argument(type(service)):
        return service._preprocess(data, None)
    return service._preprocess(data)


_second_argument = {}  # type: dict


def _wants_second_argument(cls):
    """Whether `_preprocess` of this class requires a second argument, as in older packages; looked up once."""
    try:
        return _second_argument[cls]
    except KeyError:
        pass
    try:
        required = [
            p
            for p in inspect.signature(cls._preprocess).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]
        static = isinstance(inspect.getattr_static(cls, "_preprocess"), (staticmethod, classmethod))
        wants = len(required) > (1 if static else 2)
    except (TypeError, ValueError):
        wants = False
    _second_argument[cls] = wants
    return wants
