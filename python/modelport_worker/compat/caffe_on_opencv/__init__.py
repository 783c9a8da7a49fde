# coding: utf-8
"""What inference scripts use of pycaffe, on OpenCV 4's reader of Caffe models. Training needs Caffe itself."""
import logging

from . import io, proto  # noqa: F401
from .net import Net  # noqa: F401

TRAIN = 0
TEST = 1

__version__ = "1.0.0"


def set_mode_cpu():
    pass


def set_mode_gpu():
    logging.getLogger("modelport").warning("caffe.set_mode_gpu(): this platform runs Caffe models on the CPU")


def set_device(device):
    pass


def set_random_seed(seed):
    pass


def layer_type_list():
    raise NotImplementedError("this platform reads Caffe models with OpenCV; caffe.layer_type_list is not there")
