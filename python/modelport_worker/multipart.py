# coding: utf-8
"""Cuts a multipart/form-data body into its parts (RFC 7578, RFC 2046), exactly: what breaks the rules is refused.

In the worker and not in the front, so that a body made to be slow costs its own prediction's deadline and nobody
else's. The standard library's `cgi` is gone in 3.13 and its `email` parser neither fast nor exact; the search for the
delimiter is `bytes.find`, so the time goes with the size of the body.
"""
import collections
import re

PARTS_MAX = 1000
_HEADERS_MAX = 16 * 1024
_BOUNDARY_MAX = 70

# name: bytes of the field's name decoded; filename: None for a text field; content: the bytes of the part
Part = collections.namedtuple("Part", "name filename content_type charset content")

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(r'[ \t]*;[ \t]*(%s)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*' % _TOKEN, re.S)
_HEADER = re.compile(r"(%s):[ \t]*(.*)" % _TOKEN, re.S)


class MultipartError(ValueError):
    """Why the body is not multipart/form-data."""


def parse_parameters(text):
    """`form-data; name="a"; filename="b"` as ("form-data", {"name": "a", "filename": "b"})."""
    value, semicolon, _ = text.partition(";")
    parameters = {}
    at = len(value)
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            if text[at:].strip(" \t") in ("", ";"):
                break
            raise MultipartError("the header value %r cannot be read" % text[:200])
        name = match.group(1).lower()
        if name in parameters:
            raise MultipartError("the header value %r has %s twice" % (text[:200], name))
        quoted = match.group(2)
        # Only \" and \\ are escapes here: older clients send the backslashes of a path as they are.
        parameters[name] = match.group(3) if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        at = match.end()
    return value.strip(" \t").lower(), parameters


def boundary_of(content_type):
    """The boundary that a Content-Type names."""
    boundary = parse_parameters(content_type)[1].get("boundary", "")
    if not boundary or len(boundary) > _BOUNDARY_MAX or boundary.endswith(" ") or not _is_ascii(boundary):
        raise MultipartError("the Content-Type names no boundary of 1 to %d characters" % _BOUNDARY_MAX)
    return boundary


def parse(body, boundary):
    """The parts of `body` in order. Raises MultipartError."""
    delimiter = b"--" + boundary.encode("ascii")
    # The first delimiter may stand at the very beginning; every other one follows a line break, which belongs to it.
    at = 0 if _delimiter_end(body, 0, delimiter) is not None else -1
    separator = b"\r\n" + delimiter
    if at < 0:
        at = _find(body, 0, separator)
        if at < 0:
            raise MultipartError("the body has no line that begins with the boundary")
        at += 2
    parts = []
    while True:
        closing, start = _delimiter_end(body, at, delimiter)
        if closing:
            return parts
        if len(parts) == PARTS_MAX:
            raise MultipartError("the body has more than %d parts" % PARTS_MAX)
        # A part without headers begins with the empty line itself.
        end_of_headers = start - 2 if body.startswith(b"\r\n", start) else body.find(b"\r\n\r\n", start, start + _HEADERS_MAX)
        if end_of_headers < 0:
            raise MultipartError("part %d has no end of its headers" % (len(parts) + 1))
        content = end_of_headers + 4
        # The line break of an empty part may be the one that ends its headers.
        end = _find(body, content - 2, separator)
        if end < 0:
            raise MultipartError("the body ends before its closing boundary, in part %d" % (len(parts) + 1))
        parts.append(_part(body[start:end_of_headers], body[content : max(end, content)], len(parts) + 1))
        at = end + 2


def _find(body, at, separator):
    """Where the next line begins that is a delimiter and not only looks like one; -1 when there is none."""
    while True:
        at = body.find(separator, at)
        if at < 0 or _delimiter_end(body, at + 2, separator[2:]) is not None:
            return at
        at += 2


def _delimiter_end(body, at, delimiter):
    """(whether it is the closing one, where what follows begins), or None when no delimiter line stands at `at`."""
    if not body.startswith(delimiter, at):
        return None
    at += len(delimiter)
    closing = body.startswith(b"--", at)
    if closing:
        at += 2
    while body[at : at + 1] in (b" ", b"\t"):
        at += 1
    if body.startswith(b"\r\n", at):
        return closing, at + 2
    return (True, at) if closing and at == len(body) else None


def _part(raw_headers, content, number):
    try:
        lines = raw_headers.decode("utf-8").split("\r\n") if raw_headers else []
    except UnicodeDecodeError:
        raise MultipartError("the headers of part %d are not UTF-8" % number)
    headers = {}
    for line in lines:
        match = _HEADER.match(line)
        if match is None:
            raise MultipartError("part %d has a line that is no header: %r" % (number, line[:200]))
        name = match.group(1).lower()
        if name in headers:
            raise MultipartError("part %d has the header %s twice" % (number, match.group(1)))
        headers[name] = match.group(2).rstrip(" \t")
    kind, parameters = parse_parameters(headers.get("content-disposition", ""))
    name = parameters.get("name")
    if kind != "form-data" or name is None:
        raise MultipartError("part %d is not Content-Disposition: form-data with a name" % number)
    encoding = headers.get("content-transfer-encoding", "binary").lower()
    if encoding not in ("binary", "8bit", "7bit"):
        raise MultipartError("part %d (%s) has the transfer encoding %s; send it as it is" % (number, name, encoding))
    content_type, more = parse_parameters(headers.get("content-type", ""))
    if content_type.startswith("multipart/"):
        raise MultipartError("part %d (%s) holds further parts; send each file as a part of its own" % (number, name))
    return Part(name, _filename(parameters, number), content_type, more.get("charset", "utf-8"), content)


def _filename(parameters, number):
    """The file's name, of `filename*` (RFC 5987) where a client sends it, else of `filename`."""
    extended = parameters.get("filename*")
    if extended is None:
        return parameters.get("filename")
    charset, _, rest = extended.partition("'")
    _, quote, encoded = rest.partition("'")
    try:
        raw = re.sub(b"%([0-9A-Fa-f]{2})", lambda match: bytes(bytearray([int(match.group(1), 16)])), encoded.encode("ascii"))
        if not quote:
            raise ValueError
        return raw.decode(charset)
    except (ValueError, LookupError):
        raise MultipartError("part %d has a filename* that cannot be read" % number)


def _is_ascii(text):
    return all(" " <= character <= "~" for character in text)
