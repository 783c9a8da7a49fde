# coding: utf-8
"""What `_preprocess` of a deep-learning service is given: files, text fields and query parameters, or parsed JSON.

The front has cut a multipart body into its parts (src/modelserver/multipart.ts); here they become what scripts iterate.
"""
import collections
import io
import json
import os
import re
import urllib.parse

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([\w.:\-]+)', re.I)


class InputError(ValueError):
    """The request cannot be turned into what `_preprocess` takes; the message says why."""


def read_request(header, body):
    """`data` of one request. Names in the body win over query parameters of the same name."""
    content_type, query = header["contentType"], header["query"]
    if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
        data = _form(header["parts"], body)
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


def _form(parts, body):
    """Name -> OrderedDict(file name -> BytesIO) for files, name -> str for text fields, in the order of the body."""
    data = collections.OrderedDict()
    at = 0
    for part in parts:
        name, filename = part["name"], part.get("filename")
        content = body[at : at + part["size"]]
        at += part["size"]
        if filename == "" and not content:
            continue  # a browser's file input in which nothing was chosen
        if isinstance(data.get(name), str if filename is not None else dict):
            raise InputError("the field %r holds both files and text" % name)
        if filename is None:
            charset = _CHARSET.search(part.get("contentType", ""))
            charset = charset.group(1) if charset else "utf-8"
            try:
                data[name] = content.decode(charset)
            except (ValueError, LookupError):
                raise InputError("the text field %r is not %s; a file needs a filename" % (name, charset))
        else:
            files = data.setdefault(name, collections.OrderedDict())
            files[_free_name(filename, files)] = io.BytesIO(content)
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
