# coding: utf-8
"""What packages written for old library versions expect, put back. Nothing is imported for it: modules are patched
when the package imports them, and a name that a library still has is never replaced."""
from modelport_worker.compat import aliases, patches


def install():
    patches.restore_standard_library()
    patches.patch_on_import()
    aliases.install()
