# coding: utf-8
"""The base class of Scikit_Learn and XGBoost packages; used as it is, it serves packages without customize_service.py."""
import collections
import json
import logging

from model_service.base import BaseService

logger = logging.getLogger("model_service")


class XgSklServingBaseService(BaseService):
    """`_preprocess` gets the raw body; `_postprocess` returns the list of results. Each step has a working default."""

    _default_model = None

    def _preprocess(self, data):
        body = json.loads(data, object_pairs_hook=collections.OrderedDict)
        rows = body["data"]["req_data"] if "data" in body else body["req_data"]
        return [list(row.values()) if isinstance(row, dict) else row for row in rows]

    def _inference(self, data):
        model = self._default_model or self.load_default_model()
        return model(data)

    def _postprocess(self, data):
        rows = data.tolist() if hasattr(data, "tolist") else data
        return [{"predictresult": row} for row in rows]

    def load_default_model(self):
        """Loads the model file with joblib or, failing that, as an XGBoost Booster. Returns rows -> predictions."""
        joblib = _joblib()
        if joblib is None:
            reason = "joblib is not installed"
        else:
            try:
                estimator = joblib.load(self.model_path)
            except Exception as error:  # any error of any pickle: the file may simply be a Booster's
                reason = "%s: %s" % (type(error).__name__, error)
            else:
                self._default_model = _predictor(estimator)
                return self._default_model
        try:
            import xgboost
        except ImportError:
            raise RuntimeError("%s could not be loaded with joblib (%s)" % (self.model_path, reason))
        try:
            booster = xgboost.Booster(model_file=self.model_path)
        except Exception as error:
            raise RuntimeError(
                "%s could not be loaded with joblib (%s), nor as an XGBoost Booster (%s)"
                % (self.model_path, reason, str(error).splitlines()[0] if str(error) else type(error).__name__)
            )
        self._default_model = _predictor(booster)
        return self._default_model


def _joblib():
    """The joblib that scikit-learn itself writes models with: old releases bring their own, which others cannot read."""
    try:
        from sklearn.externals import joblib

        return joblib
    except ImportError:
        pass
    try:
        import joblib

        return joblib
    except ImportError:
        return None


def _predictor(model):
    # A Booster may also have been written with joblib; it wants a DMatrix.
    if type(model).__name__ == "Booster" and type(model).__module__.split(".")[0] == "xgboost":
        import numpy
        import xgboost

        return lambda rows: model.predict(xgboost.DMatrix(numpy.asarray(rows, dtype=float)))
    return model.predict


class XgSk1ServingBaseService(XgSklServingBaseService):
    """The name with the digit one, as printed in the guide's PDF. The real name ends in a letter l."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        logger.warning(
            "%s derives from XgSk1ServingBaseService (digit one), a misprint of XgSklServingBaseService (letter l). "
            "It works here; the name with the letter is the right one.",
            cls.__name__,
        )
