# coding: utf-8
"""Names of TensorFlow 1 for scripts on TensorFlow 2, added beside its own (contracts/engines.md 3.1).

Nothing of TensorFlow 2 is replaced, so that its scripts run as they are: `tf.Session`, `tf.placeholder`, `tf.log` and the
others that are missing come from `tf.compat.v1`. Scripts that build the default graph need more: in TensorFlow 2
`tf.placeholder` refuses to work while eager execution is on, so it is switched off for packages that use such names.
"""
import logging
import os
import re

from modelport_worker.compat import patches

logger = logging.getLogger("modelport")

# Subpackages whose names moved as well.
_PLACES = ("", "saved_model", "train", "nn", "io", "losses", "layers", "metrics", "initializers", "summary", "flags", "app", "logging")
# What only works on the default graph, and is meaningless with eager execution.
_DEFAULT_GRAPH = re.compile(r"\btf\.(?:placeholder|InteractiveSession|global_variables_initializer|get_default_graph)\b")


def install(package_dir):
    uses_default_graph = _uses_default_graph(package_dir)

    def patch(tf):
        v1 = getattr(getattr(tf, "compat", None), "v1", None)
        if v1 is None or hasattr(tf, "Session"):
            return  # TensorFlow 1 itself
        for place in _PLACES:
            ours, theirs = getattr(tf, place, None) if place else tf, getattr(v1, place, None) if place else v1
            if ours is None and theirs is not None:
                setattr(tf, place, theirs)
            elif ours is not None and theirs is not None:
                _add_missing(ours, theirs)
        if uses_default_graph:
            logger.warning("the package builds TensorFlow 1's default graph; eager execution is off for it")
            v1.disable_eager_execution()

    patches.on_import("tensorflow", patch)


def _add_missing(ours, theirs):
    for name in dir(theirs):
        if name.startswith("_"):
            continue
        try:
            present = hasattr(ours, name)
        except Exception:  # lazily loaded parts may fail to load
            continue
        if not present:
            try:
                setattr(ours, name, getattr(theirs, name))
            except Exception:  # a name that cannot be loaded or set helps nobody
                continue


def _uses_default_graph(package_dir):
    """Whether a script of the package works on the default graph outside of a graph of its own."""
    for name in sorted(os.listdir(package_dir)):
        if not name.endswith(".py"):
            continue
        try:
            with open(os.path.join(package_dir, name), "rb") as file:
                text = file.read().decode("utf-8", "replace")
        except OSError:
            continue
        if _DEFAULT_GRAPH.search(text):
            return True
    return False
