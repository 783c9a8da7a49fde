# coding: utf-8
"""The base class of PyTorch packages (contract: the guide's chapters 4.1.3 and 4.3.3)."""
import builtins

from model_service.base import BaseService


class PTServingBaseService(BaseService):
    """`_preprocess` gets files and fields, or parsed JSON. The constructor of a package sets `self.model`."""

    model = None

    def __init__(self, model_name="", model_path=""):
        self.model_name = model_name
        self.model_path = model_path

    def _inference(self, data):
        import torch

        with torch.no_grad():
            return {name: self.model(value) for name, value in data.items()}


# The guide's 4.3.3 imports PTServingBaseService and derives from PTServicingBaseService, which nothing defines. Names
# in builtins are the last that a script looks at, so one that defines its own is not disturbed.
if not hasattr(builtins, "PTServicingBaseService"):
    builtins.PTServicingBaseService = PTServingBaseService
