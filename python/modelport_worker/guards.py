# coding: utf-8
"""The process around user code: its socket out of reach, its output in whole lines, its end tied to the front's."""
import errno
import faulthandler
import io
import logging
import os
import socket
import sys

_PROTOCOL_FD = 3
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def take_socket():
    """The connection to the front, moved away from the low descriptors that user code closes or reuses.

    It is not inheritable, so programs that user code starts cannot hold it open.
    """
    import fcntl
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    floor = 1000 if limit == resource.RLIM_INFINITY or limit > 1024 else max(8, limit - 16)
    moved = fcntl.fcntl(_PROTOCOL_FD, fcntl.F_DUPFD_CLOEXEC, floor)
    os.close(_PROTOCOL_FD)
    _close_others(moved)
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=moved)


def _close_others(kept):
    """What whoever started the platform left open for every program below it is nothing for user code."""
    try:
        found = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # a system without it
        return
    for fd in found:
        if fd > 2 and fd != kept:
            try:
                os.close(fd)
            except OSError:  # the list itself was open while it was read
                pass


def die_with(parent_pid):
    """Ends this process when the front dies, even while user code never comes back to the loop."""
    if sys.platform.startswith("linux"):
        try:
            import ctypes
            import signal

            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        except Exception:  # no libc by that name (musl builds without dlopen): the closed socket still ends the loop
            pass
    else:
        import threading
        import time

        def watch():
            while os.getppid() == parent_pid:
                time.sleep(1)
            os.killpg(os.getpgrp(), 9)

        threading.Thread(target=watch, name="modelport-parent", daemon=True).start()
    if os.getppid() != parent_pid:
        os._exit(0)


def restrict(limits):
    """Gives this process its limits, by the names after RLIMIT_; no core files, no more rights than it has now.

    Before any code of the package runs, and for good: hard limits cannot be raised again.
    """
    import resource

    for name, value in dict(limits, CORE=0).items():
        kind = getattr(resource, "RLIMIT_" + name, None)
        if kind is None:  # this system does not count it
            continue
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        except Exception:  # as in die_with
            pass


def dump_faults_to(path):
    """Where the interpreter writes the Python stack on a segmentation fault or an abort; the front reads it."""
    if path:
        try:
            faulthandler.enable(file=open(path, "w"), all_threads=True)
        except OSError:  # no room on the disk: a crash goes unexplained, predictions go on
            pass


class _Output(io.FileIO):
    """Loses what a full disk does not take: a `print` of user code must not fail its prediction."""

    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return len(data)


def line_buffered_output():
    """Whole lines per write, so that lines of several workers do not mix; odd characters never raise."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Output(fd, "w", closefd=False)),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.captureWarnings(True)


def end_group_if_orphaned(parent_pid):
    """The front died: whatever user code started in this group must not outlive it."""
    if os.getppid() != parent_pid and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), 9)
