# coding: utf-8
"""Requests joined into one `_inference` and its result taken apart again: lists of rows, numpy arrays, torch and TensorFlow
tensors, pandas frames, and dicts of those by name. Pure; nothing is imported that user code has not imported.
"""
import sys


_LIST = ("list",)


class NotSplittable(Exception):
    """A result that does not hold one row for each row that went in."""


def signature(value):
    """What values must share to be joined; None when a value cannot be joined with any other."""
    kind = _kind(value)
    if kind == "list":
        return _LIST
    if kind == "array":
        if value.ndim < 1 or value.dtype.names is not None:
            return None
        return ("array", str(value.dtype), tuple(value.shape[1:]))
    if kind == "tensor":
        if len(value.shape) < 1:
            return None
        return ("tensor", type(value).__name__, str(value.dtype), str(getattr(value, "device", "")), tuple(value.shape[1:]))
    if kind == "frame":
        return ("frame", tuple(map(str, value.columns)), tuple(map(str, value.dtypes)))
    if kind == "dict" and value:
        parts = []
        for name, part in value.items():
            one = signature(part)
            if one is None or isinstance(part, dict) or len(part) != rows_of(value):
                return None
            parts.append((name, one))
        return ("dict", tuple(parts))
    return None


def join(values):
    """One value for several of the same signature."""
    first = values[0]
    kind = _kind(first)
    if kind == "list":
        return [row for value in values for row in value]
    if kind == "array":
        return sys.modules["numpy"].concatenate(values)
    if kind == "tensor":
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(first, torch.Tensor):
            return torch.cat(values)
        return sys.modules["tensorflow"].concat(values, 0)
    if kind == "frame":
        return sys.modules["pandas"].concat(values, ignore_index=True)
    joined = type(first)()
    for name in first:
        joined[name] = join([value[name] for value in values])
    return joined


def split(result, counts):
    """The result of each of the joined values, which had `counts` rows. Raises NotSplittable."""
    kind = _kind(result)
    if kind == "dict" and result:
        parts = {name: split(part, counts) for name, part in result.items()}
        return [_same_dict(result, parts, at) for at in range(len(counts))]
    if kind is None or kind == "dict" or rows_of(result) != sum(counts):
        raise NotSplittable()
    pieces = []
    start = 0
    for count in counts:
        if kind in ("frame", "series"):
            pieces.append(result.iloc[start : start + count].reset_index(drop=True))
        else:
            pieces.append(result[start : start + count])
        start += count
    return pieces


def _same_dict(result, parts, at):
    piece = type(result)()
    for name in result:
        piece[name] = parts[name][at]
    return piece


def _kind(value):
    if type(value) is list:
        return "list"
    if isinstance(value, dict):
        return "dict"
    root = type(value).__module__.partition(".")[0]
    name = type(value).__name__
    if root == "numpy" and name == "ndarray":
        return "array"
    if root == "torch" and name in ("Tensor", "Parameter") or root == "tensorflow" and name == "EagerTensor":
        return "tensor"
    if root == "pandas" and name in ("DataFrame", "Series"):
        return "frame" if name == "DataFrame" else "series"
    return None


def rows_of(value):
    """How many rows a joinable value or a result holds; -1: it is a scalar."""
    if isinstance(value, dict):
        for part in value.values():
            return rows_of(part)
        return 0
    try:
        return len(value)
    except TypeError:  # a scalar array or tensor
        return -1


def same_answer(one, other):
    """Whether two parsed JSON answers say the same: floats up to rounding, everything else exactly."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other or abs(one - other) <= 1e-5 * max(abs(one), abs(other)) + 1e-9
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same_answer(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_answer, one, other))
    return one == other
