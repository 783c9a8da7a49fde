# coding: utf-8
"""Removed names of the standard library, numpy, Pillow and xgboost, restored after the module's own import."""
import functools
import inspect
import json
import sys


def restore_standard_library():
    """Names that Python 3.8 to 3.10 removed and scripts of 2018 use."""
    import collections
    import collections.abc
    import time

    for name in ("Mapping", "MutableMapping", "Sequence", "MutableSequence", "Iterable", "Iterator", "Callable",
                 "Hashable", "Sized", "Container", "Set", "MutableSet"):
        if name not in vars(collections):  # hasattr would make 3.7 to 3.9 warn
            setattr(collections, name, getattr(collections.abc, name))
    if not hasattr(time, "clock"):
        time.clock = time.perf_counter


def _numpy(numpy):
    builtins = {"bool": bool, "int": int, "float": float, "object": object, "str": str, "complex": complex,
                "long": int, "unicode": str}
    renamed = {"float_": "float64", "Inf": "inf", "NaN": "nan", "infty": "inf", "product": "prod",
               "alltrue": "all", "sometrue": "any", "cumproduct": "cumprod", "trapz": "trapezoid",
               "string_": "bytes_", "unicode_": "str_", "in1d": "isin"}
    have = vars(numpy)  # not getattr: numpy's module __getattr__ warns or raises for removed names
    for name, value in builtins.items():
        if name not in have:
            have[name] = value
    for name, now in renamed.items():
        if name not in have and now in have:
            have[name] = have[now]
    if "asscalar" not in have:
        have["asscalar"] = lambda a: a.item()


def _pillow(image):
    renamed = {"ANTIALIAS": "LANCZOS", "LINEAR": "BILINEAR", "CUBIC": "BICUBIC"}
    for name, now in renamed.items():
        if not hasattr(image, name) and hasattr(image, now):
            setattr(image, name, getattr(image, now))


def _xgboost(xgboost):
    # A model trained on a DataFrame remembers its column names, and the guide predicts from plain lists; old
    # releases let that pass. Names that are given are still checked.
    booster = getattr(xgboost, "Booster", None)
    original = getattr(booster, "_validate_features", None)
    if original is None:
        return

    def validate(self, given, *args, **kwargs):
        names = getattr(given, "feature_names", given)
        if names is None:
            return None
        return original(self, given, *args, **kwargs)

    booster._validate_features = validate
    _xgboost_names(xgboost, booster)


def _xgboost_names(xgboost, booster):
    """What 2.0 and 3.0 took away: `ntree_limit`, `best_ntree_limit`, and parameters as a list of pairs."""
    predict = getattr(booster, "predict", None)
    if predict is not None and not _takes(predict, "ntree_limit"):

        def with_limit(self, data, *args, **kwargs):
            limit = kwargs.pop("ntree_limit", 0)
            if limit and "iteration_range" not in kwargs:
                kwargs["iteration_range"] = (0, max(1, limit // _trees_of_a_round(self)))
            return predict(self, data, *args, **kwargs)

        booster.predict = functools.wraps(predict)(with_limit)
        if not hasattr(booster, "best_ntree_limit"):
            booster.best_ntree_limit = property(lambda self: (_best_round(self) + 1) * _trees_of_a_round(self))
    train = getattr(xgboost, "train", None)
    if train is not None:

        def with_pairs(params, *args, **kwargs):
            return train(params if hasattr(params, "copy") else list(params), *args, **kwargs)

        xgboost.train = functools.wraps(train)(with_pairs)


def _trees_of_a_round(booster):
    """Those releases counted trees, of one class where there are several: more than rounds for forests only."""
    try:
        part = json.loads(booster.save_config())["learner"]["gradient_booster"]
        return max(1, int(part.get("gbtree", part)["gbtree_model_param"]["num_parallel_tree"]))
    except (KeyError, ValueError):  # of a linear model, which has no trees
        return 1


def _best_round(booster):
    """The last one where training was not stopped early, which newer releases call no best one."""
    try:
        return booster.best_iteration
    except AttributeError:
        return booster.num_boosted_rounds() - 1


def _takes(function, parameter):
    try:
        return parameter in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True


_PATCHES = {"numpy": _numpy, "PIL.Image": _pillow, "xgboost": _xgboost}


class _PatchFinder(object):
    """Lets the other finders find a module and patches it once it has been executed."""

    def __init__(self):
        self._open = set()

    def find_spec(self, fullname, path=None, target=None):
        patch = _PATCHES.get(fullname)
        if patch is None or fullname in self._open:
            return None
        self._open.add(fullname)
        try:
            spec = None
            for finder in sys.meta_path:
                if finder is not self and hasattr(finder, "find_spec"):
                    spec = finder.find_spec(fullname, path, target)
                    if spec is not None:
                        break
        finally:
            self._open.discard(fullname)
        if spec is None or not hasattr(spec.loader, "exec_module"):
            return spec
        loader = spec.loader
        execute = loader.exec_module

        def execute_and_patch(module):
            execute(module)
            patch(module)

        try:
            # On the loader itself, so that everything else about it (its type, its resources) stays as it is.
            loader.exec_module = execute_and_patch
        except AttributeError:
            pass
        return spec


def on_import(name, patch):
    """Has a module patched after its own import; at once, when it was imported before."""
    _PATCHES[name] = patch
    if name in sys.modules:
        patch(sys.modules[name])


def patch_on_import():
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])
    sys.meta_path.insert(0, _PatchFinder())
