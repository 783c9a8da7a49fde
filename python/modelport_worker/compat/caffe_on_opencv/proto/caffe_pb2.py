# coding: utf-8
"""BlobProto as scripts read it from *.binaryproto files (the mean picture of a training set)."""
import numpy as np

TRAIN = 0
TEST = 1


class BlobShape(object):
    def __init__(self):
        self.dim = []


class BlobProto(object):
    def __init__(self):
        self.num = self.channels = self.height = self.width = 0
        self.data = np.zeros(0, dtype=np.float32)
        self.diff = np.zeros(0, dtype=np.float32)
        self.shape = BlobShape()

    def ParseFromString(self, raw):
        for number, value in _fields(raw):
            if number in (1, 2, 3, 4):
                setattr(self, ("num", "channels", "height", "width")[number - 1], value)
            elif number in (5, 6):
                name = "data" if number == 5 else "diff"
                setattr(self, name, np.concatenate([getattr(self, name), np.frombuffer(value, dtype="<f4")]))
            elif number in (8, 9):
                name = "data" if number == 8 else "diff"
                setattr(self, name, np.concatenate([getattr(self, name), np.frombuffer(value, dtype="<f8")]))
            elif number == 7:
                self.shape.dim = [dim for _, packed in _fields(value) for dim in _dims(packed)]
        return len(raw)

    @classmethod
    def FromString(cls, raw):
        blob = cls()
        blob.ParseFromString(raw)
        return blob


def _dims(value):
    if isinstance(value, int):
        return [value]
    dims, at = [], 0
    while at < len(value):
        dim, at = _varint(value, at)
        dims.append(dim)
    return dims


def _fields(raw):
    """(number, value) of a message: ints for varints, bytes for everything else."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(raw, at)
        else:
            if kind == 2:
                size, at = _varint(raw, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError("this is no BlobProto")
            value = raw[at : at + size]
            if len(value) != size:
                raise ValueError("the BlobProto ends too early")
            at += size
        yield key >> 3, value


def _varint(raw, at):
    value = shift = 0
    while True:
        if at >= len(raw):
            raise ValueError("the BlobProto ends too early")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
