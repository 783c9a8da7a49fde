# coding: utf-8
"""Calls the package as the platform does. Run it with: modelport run . -- python -m unittest"""
import os
import unittest

from model_service.testing import open_package

HERE = os.path.dirname(os.path.abspath(__file__))


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.package = open_package(os.path.join(HERE, "model"))

    def test_reads_the_seven(self):
        answer = self.package.predict(files={"images": os.path.join(HERE, "request.png")})
        self.assertEqual(answer, {"digits": [7]})


if __name__ == "__main__":
    unittest.main()
