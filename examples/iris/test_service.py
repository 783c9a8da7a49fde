# coding: utf-8
"""Calls the package as the platform does. Run it with: modelport run . -- python -m unittest"""
import json
import os
import unittest

from model_service.testing import open_package

HERE = os.path.dirname(os.path.abspath(__file__))


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.package = open_package(os.path.join(HERE, "model"))

    def test_names_the_species_of_three_flowers(self):
        with open(os.path.join(HERE, "request.json")) as file:
            answer = self.package.predict(json.load(file))
        species = [row["predictresult"] for row in answer["data"]["resp_data"]]
        self.assertEqual(species, ["setosa", "versicolor", "virginica"])

    def test_refuses_a_request_without_rows(self):
        with self.assertRaises(KeyError):
            self.package.predict({"data": {}})


if __name__ == "__main__":
    unittest.main()
