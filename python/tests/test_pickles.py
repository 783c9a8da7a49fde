# coding: utf-8
"""Which scikit-learn wrote a file, and what becomes of one that ends the process that reads it. With a stand-in for
scikit-learn, whose pickles look as the real ones do."""
import bz2
import gzip
import lzma
import os
import pickle
import signal
import sys
import tempfile
import textwrap
import types
import unittest
import zlib

import support  # noqa: F401

from modelport_worker import pickles
from modelport_worker.loading import PackageError

FAKE_JOBLIB = """
    import os, signal
    def load(path):
        with open(path, "rb") as file:
            content = file.read()
        if b"crash" in content:
            os.kill(os.getpid(), signal.SIGSEGV)
        if b"fail" in content:
            raise ValueError("cannot be read")
"""


def estimator(version, note=""):
    """An object of a class in `sklearn.linear_model.base`, as its releases pickle it; version None: before 0.18."""
    module = types.ModuleType("sklearn.linear_model.base")
    module.Ridge = type("Ridge", (object,), {"__module__": module.__name__})
    sys.modules["sklearn"] = types.ModuleType("sklearn")
    sys.modules["sklearn.linear_model"] = types.ModuleType("sklearn.linear_model")
    sys.modules[module.__name__] = module
    made = module.Ridge()
    made.__dict__.update({"note": note}, **({} if version is None else {"_sklearn_version": version}))
    return made


class Pickles(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        before = dict(sys.modules)
        self.addCleanup(lambda: (sys.modules.clear(), sys.modules.update(before)))

    def write(self, content):
        path = os.path.join(self.folder.name, "model.m")
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_names_the_version_in_every_protocol(self):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for version in ("0.18.1", "1.2.2", "0.20.dev0", "1.3.0rc1"):
                path = self.write(pickle.dumps(["what _sklearn_version is for", estimator(version)], protocol))
                self.assertEqual(pickles.written_by(path), version, protocol)

    def test_names_the_version_through_every_compression(self):
        padding = os.urandom(1 << 20)
        plain = pickle.dumps([padding, estimator("0.19.2"), padding], 3)
        length = hex(len(plain)).encode().ljust(len(hex(2 ** 64)))
        for content in (gzip.compress(plain), bz2.compress(plain), lzma.compress(plain), zlib.compress(plain),
                        lzma.compress(plain, lzma.FORMAT_ALONE),
                        b"ZF" + length + zlib.compress(plain), b"ZF" + length + b" " + zlib.compress(plain)):
            self.assertEqual(pickles.written_by(self.write(content)), "0.19.2", content[:6])

    def test_knows_estimators_from_before_versions_were_noted(self):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            plain = pickle.dumps(estimator(None), protocol)
            for content in (plain, zlib.compress(plain)):
                self.assertEqual(pickles.written_by(self.write(content)), pickles.OLDER, protocol)

    def test_says_nothing_of_other_files(self):
        for content in (b"", b"binf" + bytes(100), b'{"learner": {}}', pickle.dumps({"words": "sklearn is a library"}),
                        b"\x1f\x8bbroken", b"ZFbroken", b"\x78broken"):
            self.assertIsNone(pickles.written_by(self.write(content)), content)

    def try_old(self, content, installed):
        fake = os.path.join(self.folder.name, "joblib.py")
        with open(fake, "w") as file:
            file.write(textwrap.dedent(FAKE_JOBLIB))
        sys.modules.pop("joblib", None)
        sys.path.insert(0, self.folder.name)
        self.addCleanup(sys.path.remove, self.folder.name)
        path = self.write(content)
        sys.modules["sklearn"] = types.ModuleType("sklearn")
        sys.modules["sklearn"].__version__ = installed
        pickles.try_old(path)

    def test_refuses_a_file_that_ends_the_process_and_says_which_release_reads_it(self):
        with self.assertRaisesRegex(PackageError, r"by scikit-learn 0\.18\.1, and reading it with 1\.2\.2 ends the process \(SIGSEGV\);.*==0\.18\.1"):
            self.try_old(pickle.dumps(estimator("0.18.1", "crash")), "1.2.2")
        with self.assertRaisesRegex(PackageError, r"by scikit-learn before 0\.18, and .*\(SIGSEGV\); save the model again"):
            self.try_old(pickle.dumps(estimator(None, "crash")), "1.2.2")

    def test_lets_pass_what_can_be_read_or_fails_in_words(self):
        for note in ("", "fail"):
            self.try_old(pickle.dumps(estimator("0.18.1", note)), "1.2.2")
            self.try_old(pickle.dumps(estimator(None, note)), "1.2.2")

    def test_does_not_read_what_the_installed_version_wrote(self):
        self.try_old(pickle.dumps(estimator("1.2.2", "crash")), "1.2.2")

    def test_the_crash_is_one_that_would_end_this_process(self):
        self.assertIn(signal.SIGSEGV, pickles._CRASHES)


if __name__ == "__main__":
    unittest.main()
