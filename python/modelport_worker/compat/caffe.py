# coding: utf-8
"""The `caffe` module of Caffe packages where Caffe itself is not installed: OpenCV's reader under Caffe's names."""
import importlib.util
import os
import sys

_SHIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "caffe_on_opencv")


class _CaffeFinder(object):
    """Asked last: a real Caffe of the environment or of the package is preferred. Submodules are found by the path."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "caffe":
            return None
        return importlib.util.spec_from_file_location(
            "caffe", os.path.join(_SHIM, "__init__.py"), submodule_search_locations=[_SHIM]
        )


def install(package_dir):
    sys.meta_path.append(_CaffeFinder())
