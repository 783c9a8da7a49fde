# coding: utf-8
"""Lets tests import the worker from the checkout, and writes packages for them."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap

PYTHON_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPO = os.path.dirname(PYTHON_DIR)
if PYTHON_DIR not in sys.path:
    sys.path.insert(0, PYTHON_DIR)

from modelport_worker.protocol import PROTOCOL_VERSION, Channel  # noqa: E402


class Package(object):
    """A package directory for one test."""

    def __init__(self, **files):
        self.dir = tempfile.mkdtemp()
        self.write("model.m", "not a model\n")
        for name, text in files.items():
            self.write(name + ".py", text)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "w") as file:
            file.write(textwrap.dedent(text))

    def remove(self):
        shutil.rmtree(self.dir)


class RunningWorker(object):
    """A real worker process with this interpreter; `channel` is the front's side of the connection."""

    def __init__(self, package_dir, model_file="model.m", batching="off"):
        ours, theirs = socket.socketpair()
        self.work = tempfile.mkdtemp()
        self.fault = os.path.join(self.work, "fault")
        # Descriptor 3 as src/modelserver/worker.ts gives it.
        run = "import os,sys; os.dup2(%d, 3); os.set_inheritable(3, True); os.execv(sys.executable, [sys.executable] + sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", run % theirs.fileno(), "-s", "-m", "modelport_worker", str(os.getpid()), self.fault, "{}"],
            cwd=self.work,
            env={"PYTHONPATH": PYTHON_DIR, "PYTHONDONTWRITEBYTECODE": "1", "HOME": self.work, "LANG": "C.UTF-8"},
            pass_fds=(theirs.fileno(),),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        ours.settimeout(60)
        self.socket = ours
        self.channel = Channel(ours)
        self.channel.write(
            {
                "t": "load",
                "protocol": PROTOCOL_VERSION,
                "engine": "Scikit_Learn",
                "packageDir": package_dir,
                "modelFile": model_file,
                "modelName": "m",
                "modelVersion": "1",
                "batching": batching,
            }
        )
        self.loaded = self.channel.read()[0]
        # Decided before the first request.
        self.decided = None
        if self.loaded["t"] == "batching":
            self.decided, self.loaded = self.loaded, self.channel.read()[0]

    def predict(self, body):
        self.send([(1, body)])
        return self.read()

    def read(self):
        """The next frame that is not about whether the worker is free."""
        while True:
            frame = self.channel.read()
            if frame is None or frame[0]["t"] not in ("proving", "proved"):
                return frame

    def send(self, requests):
        """[(id, body)] as one predict frame."""
        described = [
            {"id": at, "contentType": "", "query": "", "parts": [{"name": "", "size": len(body)}]} for at, body in requests
        ]
        self.channel.write({"t": "predict", "requests": described}, b"".join(body for _, body in requests))

    def predict_all(self, bodies, decided=None):
        """Several requests that may be joined; their replies in the order of the requests. `decided(header)` hears of decisions."""
        self.send(list(enumerate(bodies)))
        replies = []
        while len(replies) < len(bodies):
            header, body = self.read()
            if header["t"] == "batching" and decided is not None:
                decided(header)
                continue
            if header["t"] != "answers":
                replies.append((header, body))
                continue
            at = 0
            for answer in header["answers"]:
                replies.append((dict(answer, t="answer"), body[at : at + answer["size"]]))
                at += answer["size"]
        replies.sort(key=lambda reply: reply[0]["id"])
        assert [header["id"] for header, _ in replies] == list(range(len(bodies))), replies
        return replies

    def close(self):
        """Closes the connection; returns the exit status and what was printed."""
        self.socket.close()
        out, err = self.process.communicate(timeout=60)
        shutil.rmtree(self.work)
        return self.process.returncode, out.decode("utf-8"), err.decode("utf-8")
