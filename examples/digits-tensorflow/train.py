# coding: utf-8
"""Trains the digits classifier of this example: draws the digits it learns from, and writes model/ (a SavedModel) and the
picture request.png. Run it with: modelport run . -- python train.py"""
import os

import numpy as np
import tensorflow as tf
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


tf.random.set_seed(0)
np.random.seed(0)
images, labels = digits(4000, 1)
network = tf.keras.Sequential(
    [tf.keras.layers.Flatten(input_shape=(28, 28)), tf.keras.layers.Dense(24, "relu"), tf.keras.layers.Dense(10, "softmax")]
)
network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
network.fit(images, labels, batch_size=32, epochs=12, verbose=0)
print("accuracy", network.evaluate(*digits(500, 2), verbose=0)[1])


class Exported(tf.Module):
    """The network as one function: without the optimizer's state, which serving has no use for."""

    def __init__(self):
        super(Exported, self).__init__()
        self.weights = [tf.Variable(value) for value in network.get_weights()]

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28], tf.float32, name="images")])
    def predict(self, images):
        first, first_bias, last, last_bias = self.weights
        hidden = tf.nn.relu(tf.matmul(tf.reshape(images, [-1, 784]), first) + first_bias)
        return {"scores": tf.nn.softmax(tf.matmul(hidden, last) + last_bias)}


exported = Exported()
tf.saved_model.save(exported, MODEL, signatures=exported.predict)

Image.fromarray((draw(7, np.random.RandomState(7)) * 255).astype(np.uint8)).save(os.path.join(HERE, "request.png"))
