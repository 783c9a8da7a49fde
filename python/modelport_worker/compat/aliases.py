# coding: utf-8
"""Module names that libraries gave up, answered with the module that took their place.

Pickles of old scikit-learn models name them, and scripts import them: `sklearn.externals.joblib`,
`sklearn.linear_model.logistic`. A module that exists under its old name is always preferred.
"""
import importlib
import importlib.machinery
import importlib.util
import sys
import types

_EXTERNALS = "sklearn.externals"
_REPLACED = {"joblib": "joblib", "six": "six"}
_MOVED = {
    "sklearn.tree.tree": "sklearn.tree._classes",
    "sklearn.tree.export": "sklearn.tree._export",
    "sklearn.svm.classes": "sklearn.svm._classes",
    "sklearn.ensemble.forest": "sklearn.ensemble._forest",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.ensemble.weight_boosting": "sklearn.ensemble._weight_boosting",
    "sklearn.ensemble.voting_classifier": "sklearn.ensemble._voting",
    "sklearn.cluster.k_means_": "sklearn.cluster._kmeans",
    "sklearn.neural_network.multilayer_perceptron": "sklearn.neural_network._multilayer_perceptron",
    "sklearn.neighbors.dist_metrics": "sklearn.metrics._dist_metrics",
    "sklearn.neighbors.kd_tree": "sklearn.neighbors._kd_tree",
    "sklearn.neighbors.ball_tree": "sklearn.neighbors._ball_tree",
    "sklearn.preprocessing.label": "sklearn.preprocessing._label",
    "sklearn.preprocessing.data": "sklearn.preprocessing._data",
    "sklearn.preprocessing.imputation": "sklearn.impute._base",
    "sklearn.decomposition.pca": "sklearn.decomposition._pca",
    "sklearn.covariance.empirical_covariance_": "sklearn.covariance._empirical_covariance",
    "sklearn.utils.testing": "sklearn.utils._testing",
}


class _AliasLoader(object):
    def __init__(self, target):
        self._target = target
        self._spec = None

    def create_module(self, spec):
        module = importlib.import_module(self._target)
        self._spec = module.__spec__
        return module

    def exec_module(self, module):
        # The import system has just put the alias's spec on the shared module; its own is the true one.
        module.__spec__ = self._spec


class _EmptyPackageLoader(object):
    def create_module(self, spec):
        return types.ModuleType(spec.name)

    def exec_module(self, module):
        module.__path__ = []


def _alias(fullname, target):
    return importlib.machinery.ModuleSpec(fullname, _AliasLoader(target))


def _exists(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class _ExternalsFinder(object):
    """Must be asked first: `sklearn.externals.joblib` shares joblib's path, so the ordinary finder would load
    joblib's submodules a second time, and isinstance checks while unpickling would fail."""

    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith("sklearn.externals."):
            return None
        top, _, rest = fullname[len(_EXTERNALS) + 1 :].partition(".")
        if top not in _REPLACED:
            return None
        parent = sys.modules.get(_EXTERNALS)
        if importlib.machinery.PathFinder.find_spec("%s.%s" % (_EXTERNALS, top), getattr(parent, "__path__", None)):
            return None  # a scikit-learn old enough to bring its own
        now = _REPLACED[top] + ("." + rest if rest else "")
        return _alias(fullname, now) if _exists(now) else None


class _MovedFinder(object):
    """Asked last: only names that nothing else knows."""

    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith("sklearn."):
            return None
        if fullname == _EXTERNALS:
            return importlib.machinery.ModuleSpec(fullname, _EmptyPackageLoader(), is_package=True)
        package, _, name = fullname.rpartition(".")
        if name.startswith("_") or package == "sklearn":
            # sklearn.x became sklearn._x only for single modules; a private name has nowhere to go
            now = _MOVED.get(fullname)
        else:
            now = _MOVED.get(fullname) or "%s._%s" % (package, name)
        return _alias(fullname, now) if now is not None and _exists(now) else None


def install():
    sys.meta_path.insert(0, _ExternalsFinder())
    sys.meta_path.append(_MovedFinder())
