# coding: utf-8
"""Trains the digits classifier of this example: draws the digits it learns from, and writes model/digits.caffemodel and the
picture request.png. Run it with: modelport run . -- python train.py"""
import os

import struct

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "model")

# The digits 0 to 9, 5 x 7 points each, row by row.
FONT = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00010 00100 01000 11111",
    "11111 00010 00100 00010 00001 10001 01110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)


def draw(digit, random):
    """A digit of 28 x 28 points from 0 to 1: somewhere in the picture, of uneven ink, with dirt."""
    points = np.array([[float(point) for point in row] for row in FONT[digit].split()])
    big = np.kron(points, np.ones((3, 3)))
    top, left = random.randint(2, 6), random.randint(4, 10)
    image = random.uniform(0.0, 0.2, (28, 28))
    image[top:top + 21, left:left + 15] += big * random.uniform(0.6, 0.8)
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def digits(count, seed):
    """`count` pictures and which digits they show; the same ones for the same seed."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, 10, count)
    return np.array([draw(label, random) for label in labels]), labels


def number(value):
    """A varint of protobuf."""
    out = b""
    while value > 127:
        out += struct.pack("B", value & 127 | 128)
        value >>= 7
    return out + struct.pack("B", value)


def field(tag, content):
    """A length-delimited field of protobuf."""
    return number(tag << 3 | 2) + number(len(content)) + content


def blob(array):
    """BlobProto: 7 its shape (1 the dimensions, packed), 5 the numbers, packed."""
    dimensions = b"".join(number(size) for size in array.shape)
    return field(7, field(1, dimensions)) + field(5, array.astype("<f4").tobytes())


# Caffe itself is not needed: the net is one layer, which numpy learns, and its file is plain protobuf (caffe.proto).
images, labels = digits(4000, 1)
images = images.reshape(-1, 784)
wanted = np.eye(10)[labels]
weights, bias = np.zeros((10, 784)), np.zeros(10)
for _ in range(600):
    scores = images.dot(weights.T) + bias
    scores = np.exp(scores - scores.max(1, keepdims=True))
    wrong = scores / scores.sum(1, keepdims=True) - wanted
    weights -= 0.2 * wrong.T.dot(images) / len(images)
    bias -= 0.2 * wrong.mean(0)

images, labels = digits(500, 2)
print("accuracy", float(((images.reshape(-1, 784).dot(weights.T) + bias).argmax(1) == labels).mean()))
# LayerParameter: 1 name, 2 type, 3 bottom, 4 top, 7 blobs. NetParameter: 1 name, 100 layer.
layer = field(1, b"score") + field(2, b"InnerProduct") + field(3, b"data") + field(4, b"score")
layer += field(7, blob(weights)) + field(7, blob(bias))
with open(os.path.join(MODEL, "digits.caffemodel"), "wb") as file:
    file.write(field(1, b"digits") + field(100, layer))

Image.fromarray((draw(7, np.random.RandomState(7)) * 255).astype(np.uint8)).save(os.path.join(HERE, "request.png"))
