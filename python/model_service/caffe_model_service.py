# coding: utf-8
"""The base class of Caffe packages (contract: the guide's chapters 4.1.3 and 4.3.4)."""
import os

from model_service.base import BaseService


class CaffeBaseService(BaseService):
    """The constructor loads `self.net`; `_inference` runs it on what `_preprocess` put into its blobs, or returned."""

    net = None

    def __init__(self, model_name="", model_path=""):
        import caffe

        self.model_name = model_name
        self.model_path = model_path
        prototxt = _only(model_path, ".prototxt")
        self.net = caffe.Net(prototxt, _only(model_path, ".caffemodel"), caffe.TEST)

    def _inference(self, data):
        # Arrays that are named as the net's inputs are fed; scripts that write into net.blobs return anything else.
        if isinstance(data, dict) and data and set(data) <= set(self.net.inputs):
            return self.net.forward(**data)
        return self.net.forward()


def _only(folder, suffix):
    """The one file of a kind; of several prototxt files, the one for deployment."""
    found = sorted(name for name in os.listdir(folder) if name.endswith(suffix))
    chosen = found if len(found) == 1 else [name for name in found if "deploy" in name.lower()]
    if len(chosen) != 1:
        raise ValueError(
            "the package must hold exactly one *%s%s beside customize_service.py; found %s"
            % (suffix, " (or one with deploy in its name)" if suffix == ".prototxt" else "", ", ".join(found) or "none")
        )
    return os.path.join(folder, chosen[0])
