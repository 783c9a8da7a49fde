# coding: utf-8
"""Trains the digits classifier of this example: draws the digits it learns from, and writes model/digits.mindir and the
picture request.png. Run it with: modelport run . -- python train.py"""
import os

import mindspore as ms
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


ms.set_seed(0)
ms.set_context(mode=ms.GRAPH_MODE)
images, labels = digits(4000, 1)
network = ms.nn.SequentialCell(ms.nn.Flatten(), ms.nn.Dense(784, 24), ms.nn.ReLU(), ms.nn.Dense(24, 10))
loss = ms.nn.WithLossCell(network, ms.nn.CrossEntropyLoss())
step = ms.nn.TrainOneStepCell(loss, ms.nn.Adam(network.trainable_params(), 1e-3))
step.set_train()
order = np.random.RandomState(0)
for _ in range(12):
    for batch in np.array_split(order.permutation(len(images)), len(images) // 32):
        step(ms.Tensor(images[batch]), ms.Tensor(labels[batch].astype(np.int32)))

images, labels = digits(500, 2)
network.set_train(False)
print("accuracy", float((network(ms.Tensor(images)).asnumpy().argmax(1) == labels).mean()))
# One picture at a time: the service calls the network once for each.
ms.export(network, ms.Tensor(images[:1]), file_name=os.path.join(MODEL, "digits"), file_format="MINDIR")

Image.fromarray((draw(7, np.random.RandomState(7)) * 255).astype(np.uint8)).save(os.path.join(HERE, "request.png"))
