# coding: utf-8
"""Trains the digits classifier of this example: draws the digits it learns from, and writes model/digits.pth and the
picture request.png. Run it with: modelport run . -- python train.py"""
import os

import numpy as np
import torch
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


torch.manual_seed(0)
images, labels = (torch.from_numpy(array) for array in digits(4000, 1))
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10))
optimizer = torch.optim.Adam(network.parameters(), 1e-3)
for _ in range(12):
    for batch in torch.randperm(len(images)).split(32):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()

images, labels = (torch.from_numpy(array) for array in digits(500, 2))
print("accuracy", float((network(images).argmax(1) == labels).float().mean()))
torch.save(network.state_dict(), os.path.join(MODEL, "digits.pth"))

Image.fromarray((draw(7, np.random.RandomState(7)) * 255).astype(np.uint8)).save(os.path.join(HERE, "request.png"))
