# coding: utf-8
"""Turns what user code returns into JSON bytes. The C encoder does the usual answer; only what it refuses is walked.

numpy and pandas are recognised by what their objects offer and are never imported here.
NaN and Infinity do not exist in JSON and become null, with one warning per process.
"""
import base64
import collections.abc
import datetime
import decimal
import enum
import json
import logging

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
    if hasattr(value, "toarray"):  # scipy's sparse matrices
        return value.toarray().tolist()
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas series and indexes, tensors
        plain = value.tolist()
        if isinstance(plain, complex):
            raise AnswerError("a complex number has no form in JSON")
        return plain
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
