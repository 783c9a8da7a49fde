# coding: utf-8
"""Model files of another scikit-learn, read once by a child before the worker reads them.

Some old pickles take the process down when a later library reads them: a crash in C code, which no `except` sees. Most
scripts read the model at the first prediction, so an import would pass and the service would die at every call. Where
the versions agree, this costs one search through the file.
"""
import bz2
import gzip
import importlib.util
import lzma
import mmap
import os
import re
import signal
import sys
import zlib

from modelport_worker import guards
from modelport_worker.failures import say
from modelport_worker.loading import PackageError

_KEY = b"_sklearn_version"
# The version after its key: past the memo that may follow the key, as text of protocol 0 (V), 2 (X) or 4 (\x8c).
_VERSION = re.compile(rb"_sklearn_version(?:\n?p\d+\n|q.|r....|\x94)?\n?(?:V|X....|\x8c.)(\d+\.\d+(?:\.\d+)*(?:\.?(?:dev|post|rc|a|b)\d+)?)", re.DOTALL)
_CHUNK = 1 << 20
_SEARCHED = 512 << 20
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
_READ, _UNREADABLE = 0, 3


def try_old(path):
    """Raises PackageError when reading the model file ends a process. Call it once the package's own modules can be
    imported, which the model may name."""
    written = written_by(path)
    if written is None:
        return
    installed = _installed()
    if installed is None or written == installed:
        return
    status = _read_in_child(path)
    if status is None or status == _READ:
        return
    name = os.path.basename(path)
    if status < 0 and -status in _CRASHES:
        raise PackageError(
            "%s was written by scikit-learn %s, and reading it with %s ends the process (%s); choose a runtime with "
            "scikit-learn %s, name scikit-learn==%s in the dependencies, or save the model again"
            % (name, written, installed, signal.Signals(-status).name, written, written)
        )
    if status == _UNREADABLE:
        say("modelport: %s was written by scikit-learn %s, and %s cannot read it (see above)." % (name, written, installed))


def written_by(path):
    """The version of scikit-learn that a pickle names; None for other files and pickles that name none."""
    try:
        with open(path, "rb") as file:
            head = file.read(6)
            file.seek(0)
            if head[:1] == b"\x80" or not _compressed(head):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    at = content.find(_KEY)
                    return _version(content[at : at + 128]) if at >= 0 else None
            return _search(_opened(file, head))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):  # also an empty file: not ours to judge
        return None


def _compressed(head):
    return head[:2] in (b"\x1f\x8b", b"BZ", b"\x5d\x00") or head == b"\xfd7zXZ\x00" or head[:1] == b"\x78"


def _opened(file, head):
    if head[:2] == b"\x1f\x8b":
        return iter(lambda opened=gzip.open(file): opened.read(_CHUNK), b"")
    if head[:2] == b"BZ":
        return iter(lambda opened=bz2.open(file): opened.read(_CHUNK), b"")
    if head[:1] == b"\x78":
        inflate = zlib.decompressobj()
        return (inflate.decompress(chunk) for chunk in iter(lambda: file.read(_CHUNK), b""))
    return iter(lambda opened=lzma.open(file): opened.read(_CHUNK), b"")


def _search(chunks):
    tail, seen = b"", 0
    for chunk in chunks:
        window = tail + chunk
        at = window.find(_KEY)
        if 0 <= at <= len(window) - 128:
            return _version(window[at : at + 128])
        seen += len(chunk)
        if seen > _SEARCHED:
            return None
        tail = window[-256:]
    return _version(tail)


def _version(piece):
    match = _VERSION.search(piece)
    return match.group(1).decode("ascii") if match is not None else None


def _installed():
    """scikit-learn's version, without importing it."""
    module = sys.modules.get("sklearn")
    if module is not None:
        return getattr(module, "__version__", None)
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.origin:
        return None
    folder = os.path.dirname(os.path.dirname(spec.origin))
    for name in os.listdir(folder):
        match = re.match(r"scikit_learn-(\d+\.\d+[\w.]*?)(?:-py[\d.]+)?\.(?:dist-info|egg-info)$", name)
        if match is not None:
            return match.group(1)
    return "unknown"


def _read_in_child(path):
    """0: read; 3: an exception, printed by the child; negative: ended by that signal; None: no child could be made."""
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        say("modelport: %s cannot be tried in a process of its own: %s" % (os.path.basename(path), error))
        return None
    if child == 0:
        code = _UNREADABLE
        try:
            guards.die_with(parent)
            _load(path)
            code = _READ
        except BaseException as error:
            say("modelport: %s: %s: %s" % (os.path.basename(path), type(error).__name__, error))
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _load(path):
    try:
        import joblib
    except ImportError:
        from sklearn.externals import joblib
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the versions differ is why this runs
        joblib.load(path)
