# coding: utf-8
"""Weights and pictures of the image bench, the same at every run: python make.py FOLDER writes resnet20.pth and 16 JPEGs of
224 x 224 into it."""
import os
import sys

import numpy
import torch
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "model"))
import network  # noqa: E402

PICTURES = 16
folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
random = numpy.random.RandomState(7)
for n in range(PICTURES):
    # Soft shapes of many sizes and some grain, so that the files are about as large as photographs of that size.
    points = random.normal(0, 8, (224, 224, 3))
    for side in (2, 4, 8, 16, 32, 64):
        layer = Image.fromarray(random.randint(0, 256, (side, side, 3), dtype=numpy.uint8)).resize((224, 224), Image.BICUBIC)
        points += (numpy.asarray(layer) - 128.0) / side ** 0.5
    points = numpy.clip(points + 128, 0, 255).astype(numpy.uint8)
    Image.fromarray(points).save(os.path.join(folder, "picture-%02d.jpg" % n), quality=85)

torch.manual_seed(7)
model = network.resnet20()
# The norms learn what values the random weights make, so that pictures get different answers.
model.train()
rows = torch.cat([network.read_picture(os.path.join(folder, "picture-%02d.jpg" % n)) for n in range(PICTURES)])
with torch.no_grad():
    for _ in range(50):
        model(rows)
torch.save(model.state_dict(), os.path.join(folder, "resnet20.pth"))
