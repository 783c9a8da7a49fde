# coding: utf-8
"""For the tests of a package: opens it and calls it as a worker of the platform does, in the test's own process.

    from model_service.testing import open_package

    package = open_package("model")
    answer = package.predict({"data": {"req_data": [...]}})
    answer = package.predict(files={"images": "request.png"})

`modelport run FOLDER -- python -m unittest` runs such tests in the package's environment.
"""
import json
import os

from modelport_worker import compat
from modelport_worker.engines import open_engine

_BOUNDARY = "modelport-test-7MA4YWxkTrZu0gW"


class Package(object):
    """A loaded package. `service` is the object of its service class."""

    def __init__(self, engine):
        self._engine = engine
        self.service = engine._service

    def predict(self, data=None, files=None):
        """The answer, parsed, to a JSON document, or to a form: `files` maps keys to paths, or to lists of paths."""
        if files is None:
            content_type, body = "application/json", json.dumps(data).encode("utf-8")
        else:
            content_type, body = "multipart/form-data; boundary=" + _BOUNDARY, _form(files, data or {})
        header = {
            "t": "predict",
            "id": 1,
            "contentType": content_type,
            "query": "",
            "parts": [{"name": "", "size": len(body)}],
        }
        return json.loads(self._engine.predict(header, body).decode("utf-8"))


def open_package(folder):
    """Loads the package whose `model` folder this is; raises what its code raises."""
    folder = os.path.abspath(folder)
    with open(os.path.join(folder, "config.json"), "rb") as file:
        engine = json.loads(file.read().decode("utf-8-sig"))["model_type"]
    compat.install()
    load = {
        "t": "load",
        "engine": engine,
        "packageDir": folder,
        "modelFile": "",
        "modelName": os.path.basename(os.path.dirname(folder)),
        "modelVersion": "0.0.0",
    }
    return Package(open_engine(load))


def _form(files, fields):
    parts = []
    for name, value in fields.items():
        parts.append((name, "", str(value).encode("utf-8")))
    for name, paths in files.items():
        for path in paths if isinstance(paths, (list, tuple)) else [paths]:
            with open(path, "rb") as file:
                parts.append((name, '; filename="%s"' % os.path.basename(path), file.read()))
    lines = []
    for name, more, content in parts:
        head = '--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (_BOUNDARY, name, more)
        lines.append(head.encode("utf-8") + content + b"\r\n")
    return b"".join(lines) + ("--%s--\r\n" % _BOUNDARY).encode("ascii")
