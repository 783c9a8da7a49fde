# coding: utf-8
"""The network of the image bench and what comes before and after it: the same code in every server."""
import torch
from PIL import Image

CLASSES = 100
SIDE = 64


class Block(torch.nn.Module):
    """Two 3 x 3 convolutions and the way around them."""

    def __init__(self, before, after):
        super(Block, self).__init__()
        stride = 1 if before == after else 2
        self.first = torch.nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = torch.nn.BatchNorm2d(after)
        self.second = torch.nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = torch.nn.BatchNorm2d(after)
        self.around = torch.nn.Identity() if stride == 1 else torch.nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x):
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.around(x))


def resnet20():
    """ResNet-20 (He et al. 2015, 4.2: 16, 32, 64 channels, three blocks each) with a first step of two, as its pictures
    here have twice the side: (n, 3, 64, 64) -> scores (n, 100)."""
    blocks = [Block(before, after) for before, after in zip([16, 16, 16, 16, 32, 32, 32, 64, 64], [16, 16, 16, 32, 32, 32, 64, 64, 64])]
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU(),
        *blocks,
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(64, CLASSES)
    )


def load(path):
    network = resnet20()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def read_picture(file):
    """A picture file of any size as one row: float32 (1, 3, 64, 64), values from 0 to 1."""
    picture = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.BILINEAR)
    points = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return points.view(1, SIDE, SIDE, 3).permute(0, 3, 1, 2).float().div_(255)


def infer(network, rows):
    """Scores (n, 100) of rows (n, 3, 64, 64)."""
    with torch.no_grad():
        return network(rows)


def answer_of(scores):
    """The likeliest class of scores (1, 100) and how likely it is."""
    likely, label = torch.softmax(scores, 1).max(1)
    return {"class": int(label), "probability": float(likely)}
