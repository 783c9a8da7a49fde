# coding: utf-8
"""What `_preprocess` of a deep-learning service is given: files, text fields and query parameters, or parsed JSON."""
import collections
import io
import json
import os
import urllib.parse

from modelport_worker import multipart


class InputError(ValueError):
    """The request cannot be turned into what `_preprocess` takes; the message says why."""


def read_request(content_type, query, body):
    """`data` of one request. Names in the body win over query parameters of the same name."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data = _form(content_type, body)
    elif not body and query:
        data = collections.OrderedDict()
    else:
        # Whatever type it claims: the guide's own `curl -d '{...}'` calls it a form.
        try:
            data = json.loads(body.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InputError("the body is neither multipart/form-data nor JSON (%s; its type is %r)" % (error, content_type))
    if query and isinstance(data, dict):
        for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
            data.setdefault(name, value)
    return data


def _form(content_type, body):
    """Name -> OrderedDict(file name -> BytesIO) for files, name -> str for text fields, in the order of the body."""
    try:
        parts = multipart.parse(body, multipart.boundary_of(content_type))
    except multipart.MultipartError as error:
        raise InputError("the multipart body cannot be read: %s" % error)
    data = collections.OrderedDict()
    for part in parts:
        if part.filename is None:
            if isinstance(data.get(part.name), dict):
                raise InputError("the field %r holds both files and text" % part.name)
            try:
                data[part.name] = part.content.decode(part.charset)
            except (ValueError, LookupError):
                raise InputError("the text field %r is not %s; a file needs a filename" % (part.name, part.charset))
        elif part.filename or part.content:  # neither: a browser's file input in which nothing was chosen
            files = data.setdefault(part.name, collections.OrderedDict())
            if isinstance(files, str):
                raise InputError("the field %r holds both files and text" % part.name)
            files[_free_name(part.filename, files)] = io.BytesIO(part.content)
    return data


def _free_name(name, taken):
    """`cat.jpg`, then `cat (2).jpg`: a second file of the same name must not replace the first."""
    if name not in taken:
        return name
    stem, extension = os.path.splitext(name)
    number = 2
    while "%s (%d)%s" % (stem, number, extension) in taken:
        number += 1
    return "%s (%d)%s" % (stem, number, extension)
