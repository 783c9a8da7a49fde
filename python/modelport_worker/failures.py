# coding: utf-8
"""What is told about an exception of user code: its class and message, and a traceback without the worker's own frames."""
import os
import sys
import traceback

_OWN = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "model_service") + os.sep,
)
_TEXT_MAX = 64 * 1024


def is_own(filename):
    return filename.startswith(_OWN) or filename.startswith("<frozen importlib")


def describe(error):
    """(`ValueError: message`, traceback) of an exception; never raises, whatever the exception's __str__ does."""
    if getattr(type(error), "is_for_the_author", False):
        return str(error), str(error)
    try:
        # The last line of a SyntaxError leaves out the place, which is what its reader needs; its text names it.
        if isinstance(error, SyntaxError):
            summary = "%s: %s" % (type(error).__name__, error)
        else:
            summary = traceback.format_exception_only(type(error), error)[-1].strip()
    except Exception:
        summary = "%s: <its text could not be made>" % type(error).__name__
    try:
        tb = error.__traceback__
        # The worker's own frames lead to user code; they say nothing to whoever reads the traceback.
        while tb is not None and tb.tb_next is not None and is_own(tb.tb_frame.f_code.co_filename):
            tb = tb.tb_next
        text = "".join(traceback.format_exception(type(error), error, tb))
    except Exception:
        text = summary
    if len(text) > _TEXT_MAX:
        text = text[: _TEXT_MAX // 2] + "\n... (shortened) ...\n" + text[-_TEXT_MAX // 2 :]
    return summary[:4096], text


def say(text):
    """Writes a line to the instance's log; user code may have closed or replaced stderr, which must not hurt."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except Exception:
        pass
