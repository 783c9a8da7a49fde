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
# What did not simply become private: old name -> where it is now. `sklearn.a.b` -> `sklearn.a._b` needs no line here.
_MOVED = {
    "sklearn.cross_validation": "sklearn.model_selection",
    "sklearn.grid_search": "sklearn.model_selection",
    "sklearn.learning_curve": "sklearn.model_selection",
    "sklearn.cluster.hierarchical": "sklearn.cluster._agglomerative",
    "sklearn.cluster.k_means_": "sklearn.cluster._kmeans",
    "sklearn.decomposition.online_lda": "sklearn.decomposition._lda",
    "sklearn.ensemble.forest": "sklearn.ensemble._forest",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.ensemble.voting_classifier": "sklearn.ensemble._voting",
    "sklearn.feature_extraction.hashing": "sklearn.feature_extraction._hash",
    "sklearn.neighbors.dist_metrics": "sklearn.metrics._dist_metrics",
    "sklearn.preprocessing.imputation": "sklearn.impute._base",
    "sklearn.svm.classes": "sklearn.svm._classes",
    "sklearn.tree.tree": "sklearn.tree._classes",
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
        return next((_alias(fullname, now) for now in _successors(fullname) if _exists(now)), None)


def _successors(fullname):
    """Where a module of that name may have gone, the likeliest first."""
    package, _, name = fullname.rpartition(".")
    if fullname in _MOVED:
        yield _MOVED[fullname]
    # Only modules of subpackages became private; a private name has nowhere to go.
    if package != "sklearn" and not name.startswith("_"):
        yield "%s._%s" % (package, name)
        if name.endswith("_"):  # pca_, dbscan_, fastica_
            yield "%s._%s" % (package, name[:-1])



def install():
    sys.meta_path.insert(0, _ExternalsFinder())
    sys.meta_path.append(_MovedFinder())
