# coding: utf-8
import os
import subprocess
import sys
import unittest

import support  # noqa: F401

SCRIPT = """
import sys
sys.path[:0] = %r
from modelport_worker import guards
guards.line_buffered_output()
print("x" * 100000)
print("y")
sys.exit(7)
"""


class Guards(unittest.TestCase):
    @unittest.skipUnless(os.path.exists("/dev/full"), "this system has no device that is always full")
    def test_what_a_full_disk_does_not_take_is_lost_and_nothing_fails(self):
        with open("/dev/full", "w") as full:
            code = subprocess.call([sys.executable, "-c", SCRIPT % sys.path], stdout=full, stderr=full)
        self.assertEqual(code, 7)


if __name__ == "__main__":
    unittest.main()
