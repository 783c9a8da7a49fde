# coding: utf-8
"""Turns what user code returns into JSON bytes. The C encoder does the usual answer; only what it refuses is walked.

numpy, pandas and the frameworks are recognised by what their objects offer and are never imported here.
NaN and Infinity do not exist in JSON and become null, with one warning per process. docs/packages.md has the whole table.
"""
import base64
import collections.abc
import datetime
import decimal
import enum
import json
import logging
import sys

logger = logging.getLogger("modelport")


class AnswerError(Exception):
    """The answer cannot be expressed in JSON."""


_LISTS = (
    collections.abc.Sequence,
    collections.abc.Iterator,
    collections.abc.KeysView,
    collections.abc.ValuesView,
    collections.abc.ItemsView,
)


def _plain(value):
    """One step towards JSON for an object that the encoder does not know; raises AnswerError."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(raw).decode("ascii")
    kind = type(value)
    if kind.__name__ in ("NaTType", "NAType"):  # pandas: "no value"
        return None
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, enum.Enum):
        return value.value
    if kind.__name__ == "DataFrame" and hasattr(value, "to_dict"):
        return value.to_dict(orient="records")
    try:
        held = _held(value)
    except AnswerError:
        raise
    except Exception as error:  # of the library: a tensor without data, say
        raise AnswerError("an object of type %s.%s has no form in JSON: %s" % (kind.__module__, kind.__name__, _first_line(error)))
    if held is not value:
        return held
    if isinstance(value, collections.abc.Mapping):
        return dict(value)
    if isinstance(value, collections.abc.Set):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, _LISTS):
        return list(value)
    if kind.__name__ == "UUID" or hasattr(value, "__fspath__"):
        return str(value)
    raise AnswerError("an object of type %s.%s has no form in JSON" % (kind.__module__, kind.__name__))


def _held(value):
    """What an array, a tensor or a scalar of a library holds, in Python's own types or a step closer to them; the object
    itself when it is none of these."""
    if hasattr(value, "toarray"):  # scipy's sparse matrices
        return value.toarray().tolist()
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas series and indexes, torch tensors
        return _listed(value)
    if hasattr(value, "to_list"):  # TensorFlow's ragged tensors
        return value.to_list()
    if type(value).__name__ == "SparseTensor" and "tensorflow" in sys.modules:
        value = sys.modules["tensorflow"].sparse.to_dense(value)
    for name in ("numpy", "asnumpy"):  # tensors and variables of TensorFlow; of MXNet
        if callable(getattr(value, name, None)):
            return getattr(value, name)()
    if hasattr(value, "as_list"):  # TensorFlow's shapes
        return value.as_list()
    return value


# Units of numpy's times that Python's own have not: `tolist` makes plain numbers of them.
_FINER = ("ns", "ps", "fs", "as")


def _listed(value):
    dtype = getattr(value, "dtype", None)
    number = getattr(dtype, "kind", "")  # numpy's
    if number in ("M", "m") and str(dtype)[-3:-1] in _FINER:
        return value.astype("%s8[us]" % number).tolist()
    try:
        plain = value.tolist()
    except RuntimeError:
        if not hasattr(value, "layout"):
            raise
        return _rows_of_torch(value)
    if number == "c" or isinstance(plain, complex):
        raise AnswerError("a complex number has no form in JSON")
    # Types that Python has no like of (long doubles, bfloat16 of some releases) give themselves.
    return float(value) if type(plain) is type(value) else plain


def _rows_of_torch(tensor):
    """Of tensors that do not lie in memory as rows of plain numbers."""
    if getattr(tensor, "is_nested", False):
        return [one.tolist() for one in tensor.unbind()]
    return (tensor.dequantize() if tensor.is_quantized else tensor.to_dense()).tolist()


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


_fast = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode
_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode
_warned_nan = False


def encode_answer(value):
    """JSON bytes of an answer. Raises AnswerError, naming where in the answer the trouble is."""
    try:
        text = _fast(value)
    except (TypeError, ValueError, OverflowError, RecursionError, AnswerError):
        try:
            text = _fast(_clean(value, "answer", set()))
        except RecursionError:
            raise AnswerError("the answer is nested too deeply")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair in a string: escaped, it survives
        return _ascii(_clean(value, "answer", set())).encode("ascii")


def _clean(value, path, above):
    """A copy made of what JSON knows. `path` is where we are; `above` are the containers we are inside of."""
    if value is None or value is True or value is False or isinstance(value, str):
        return value
    if isinstance(value, float):
        return _finite(float(value))
    if isinstance(value, int):
        return int(value)
    if id(value) in above:
        raise AnswerError("%s contains itself" % path)
    if isinstance(value, dict):
        inside = above | {id(value)}
        return {_key(k, path): _clean(v, "%s.%s" % (path, k), inside) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        inside = above | {id(value)}
        return [_clean(v, "%s[%d]" % (path, i), inside) for i, v in enumerate(value)]
    try:
        plain = _plain(value)
    except AnswerError as error:
        raise AnswerError("%s: %s" % (path, error))
    if plain is value:
        raise AnswerError("%s: an object of type %s has no form in JSON" % (path, type(value).__name__))
    return _clean(plain, path, above | {id(value)})


def _key(key, path):
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)  # as the standard encoder does: null, true, 1, 1.5
    if isinstance(key, tuple):  # pandas' and numpy's grouped keys
        return str(key)
    plain = _plain(key)
    if isinstance(plain, (str, int, float, bool)) or plain is None:
        return plain if isinstance(plain, str) else json.dumps(plain)
    raise AnswerError("%s has a key of type %s" % (path, type(key).__name__))


def _finite(number):
    global _warned_nan
    if number - number == 0.0:
        return number
    if not _warned_nan:
        _warned_nan = True
        logger.warning("an answer holds NaN or Infinity, which JSON cannot express; such values are sent as null")
    return None
