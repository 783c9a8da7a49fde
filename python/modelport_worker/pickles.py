# coding: utf-8
"""Model files of another scikit-learn, read once by a child before the worker reads them.

Some old pickles take the process down when a later library reads them: a crash in C code, which no `except` sees. Most
scripts read the model at the first prediction, so an import would pass and the service would die at every call. Where
the versions agree, this costs one search through the file. One version is all there is in it: estimators note the
version that writes them, not the one that made them. Before 0.18 they noted none, and only their modules tell what they are.
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
# The module of a class, up to its end: of a line (protocols 0 to 3) or of a text, noted in the memo or not (from 4 on). It
# begins with letters, since only such are searched quickly.
_CLASS = re.compile(rb"sklearn\.[a-z_.]+[\n\x94\x8c]")
OLDER = "before 0.18"
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
            "%s was written by scikit-learn %s, and reading it with %s ends the process (%s); %s"
            % (name, written, installed, signal.Signals(-status).name, _WAY_OUT[written == OLDER] % {"version": written})
        )
    if status == _UNREADABLE:
        say("modelport: %s was written by scikit-learn %s, and %s cannot read it (see above)." % (name, written, installed))


_WAY_OUT = (
    "choose a runtime with scikit-learn %(version)s, name scikit-learn==%(version)s in the dependencies, or save the model again",
    "save the model again with a release that this one reads",
)


def written_by(path):
    """The version of scikit-learn that a pickle names, OLDER for one that names its classes only; None for other files."""
    try:
        with open(path, "rb") as file:
            head = file.read(6)
            file.seek(0)
            if head[:1] == b"\x80" or not _compressed(head):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    match = _VERSION.search(content)
                    return _named(match) if match is not None else OLDER if _CLASS.search(content) else None
            return _search(_opened(file, head))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):  # also an empty file: not ours to judge
        return None


def _compressed(head):
    return head[:2] in (b"\x1f\x8b", b"BZ", b"ZF", b"\x5d\x00") or head == b"\xfd7zXZ\x00" or head[:1] == b"\x78"


def _opened(file, head):
    if head[:2] == b"\x1f\x8b":
        return iter(lambda opened=gzip.open(file): opened.read(_CHUNK), b"")
    if head[:2] == b"BZ":
        return iter(lambda opened=bz2.open(file): opened.read(_CHUNK), b"")
    if head[:2] == b"ZF":  # joblib before 0.10: a length as text, and zlib
        file.seek(len(b"ZF") + len(hex(2 ** 64)))
        if file.read(1) != b" ":
            file.seek(-1, os.SEEK_CUR)
    if head[:1] == b"\x78" or head[:2] == b"ZF":
        inflate = zlib.decompressobj()
        return (inflate.decompress(chunk) for chunk in iter(lambda: file.read(_CHUNK), b""))
    return iter(lambda opened=lzma.open(file): opened.read(_CHUNK), b"")


def _search(chunks):
    tail, seen, classes = b"", 0, False
    for chunk in chunks:
        window = tail + chunk
        match = _VERSION.search(window)
        if match is not None and match.end() < len(window):  # a version at the very end may go on in the next chunk
            return _named(match)
        classes = classes or _CLASS.search(window) is not None
        seen += len(chunk)
        if seen > _SEARCHED:
            break
        tail = window[-256:]
    match = _VERSION.search(tail)
    return _named(match) if match is not None else OLDER if classes else None


def _named(match):
    return match.group(1).decode("ascii")


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
