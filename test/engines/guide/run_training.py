# coding: utf-8
"""Runs a training script of the guide as it is printed: python run_training.py SCRIPT DATA, in the folder it may write to.

DATA says where the script looks for MNIST, which is replaced by made-up digits: `idx` (files), `keras` (Keras' loader) or
`torch` (torchvision's folder); `none`: it brings its own. A digit is a picture with one bright band, the higher its number
the lower; one of them lies beside the model as request.png. `+v1` after it: the script is of TensorFlow 1, and runs on 2.
"""
import builtins
import gzip
import os
import runpy
import struct
import sys

COUNT = 5500  # the guide's script puts 5,000 aside
REQUESTED = 7


def digits(count):
    import numpy

    noise = numpy.random.RandomState(1)
    images = noise.randint(0, 30, (count, 28, 28)).astype("uint8")
    labels = (numpy.arange(count) % 10).astype("uint8")
    for image, label in zip(images, labels):
        image[2 * label + 4 : 2 * label + 6] = 255
    return images, labels


def write_request():
    from PIL import Image

    Image.fromarray(digits(10)[0][REQUESTED]).save("request.png")


def idx():
    for name, count in (("train", COUNT), ("t10k", 100)):
        images, labels = digits(count)
        with gzip.open(name + "-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4i", 2051, count, 28, 28) + images.tobytes())
        with gzip.open(name + "-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">2i", 2049, count) + labels.tobytes())


def keras():
    import tensorflow

    tensorflow.keras.datasets.mnist.load_data = lambda: (digits(1000), digits(100))


def torch():
    import torch

    os.makedirs("MNIST/processed")
    os.mkdir("pytorch_mnist")
    for name, count in (("training", 1000), ("test", 100)):
        torch.save(tuple(map(torch.from_numpy, digits(count))), "MNIST/processed/%s.pt" % name)


def as_tensorflow_1():
    """TensorFlow 2 in the first one's place, whole, for scripts that build the default graph (contracts/engines.md 3.1)."""
    import types

    import tensorflow

    v1 = tensorflow.compat.v1
    v1.disable_v2_behavior()
    v1.__path__ = list(getattr(v1, "__path__", [])) + list(tensorflow.__path__)
    v1.__version__ = tensorflow.__version__

    def lookup(mapping):
        initializer = v1.lookup.KeyValueTensorInitializer(v1.range(v1.size(mapping, out_type=v1.int64), dtype=v1.int64), mapping)
        return v1.lookup.StaticHashTable(initializer, "UNK")

    v1.contrib = types.SimpleNamespace(lookup=types.SimpleNamespace(index_to_string_table_from_tensor=lookup))
    sys.modules["tensorflow"] = v1
    try:
        import keras
    except ImportError:
        return
    keras.backend.get_session = v1.keras.backend.get_session


def spark():
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../python"))
    from model_service.spark_model_service import open_session

    builtins.spark = open_session()


if __name__ == "__main__":
    script, (data, _, form) = sys.argv[1], sys.argv[2].partition("+")
    if data != "spark":
        write_request()
    if form == "v1":
        as_tensorflow_1()
    {"idx": idx, "keras": keras, "torch": torch, "spark": spark}[data]()
    runpy.run_path(script, run_name="__main__")
