# coding: utf-8
"""What the image bench's model does without any server: pictures a second of one thread in a bare loop that decodes,
joins, infers and answers 1 to 64 at once, by turns, medians: OMP_NUM_THREADS=1 python loop.py FOLDER of make.py"""
import glob
import io
import os
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "model"))
import network  # noqa: E402

SECONDS = 20
SIZES = (1, 8, 16, 32, 64)
folder = sys.argv[1]
model = network.load(os.path.join(folder, "resnet20.pth"))
pictures = []
for name in sorted(glob.glob(os.path.join(folder, "*.jpg"))):
    with open(name, "rb") as file:
        pictures.append(file.read())


def steps(count):
    """Milliseconds a picture: decode and join, infer, answer, all of it."""
    times = [time.perf_counter()]
    rows = torch.cat([network.read_picture(io.BytesIO(pictures[n % len(pictures)])) for n in range(count)])
    times.append(time.perf_counter())
    scores = network.infer(model, rows)
    times.append(time.perf_counter())
    for n in range(count):
        network.answer_of(scores[n : n + 1])
    times.append(time.perf_counter())
    return [(end - begin) * 1e3 / count for begin, end in [*zip(times, times[1:]), (times[0], times[-1])]]


taken = {size: [] for size in SIZES}
for size in SIZES:
    steps(size)  # the first of a size prepares what later ones use
end = time.monotonic() + SECONDS
while time.monotonic() < end:
    for size in SIZES:
        for _ in range(max(1, 32 // size)):
            taken[size].append(steps(size))
print("at once   pictures/s   ms each: decode   infer   answer")
for size in SIZES:
    decode, infer, answer, whole = (sorted(column)[len(column) // 2] for column in zip(*taken[size]))
    print("%7d %12.0f %17.2f %7.2f %8.2f" % (size, 1e3 / whole, decode, infer, answer))
