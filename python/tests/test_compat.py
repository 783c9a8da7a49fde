# coding: utf-8
"""The compatibility finders, tried on small packages that stand in for scikit-learn and joblib."""
import os
import subprocess
import sys
import unittest

from support import PYTHON_DIR, Package

FAKE = {
    "sklearn/__init__.py": "",
    "sklearn/externals/__init__.py": "",
    "sklearn/linear_model/__init__.py": "",
    "sklearn/linear_model/_logistic.py": "class LogisticRegression(object): pass\n",
    "sklearn/tree/__init__.py": "",
    "sklearn/tree/_classes.py": "class Tree(object): pass\n",
    "joblib/__init__.py": "def load(path): return path\n",
    "joblib/numpy_pickle.py": "class Wrapper(object): pass\n",
    "six.py": "PY3 = True\n",
    "numpy.py": "float64 = float\ninf = 1e999\nbytes_ = bytes\n",
    "tensorflow/__init__.py": "from tensorflow import compat, train\n__version__ = '2'\ndef load(): return 'two'\n",
    "tensorflow/train.py": "def own(): return 'two'\n",
    "tensorflow/compat/__init__.py": "from tensorflow.compat import v1\n",
    "tensorflow/compat/v1/__init__.py": (
        "from tensorflow.compat.v1 import train\neager = True\ndef load(): return 'one'\ndef Session(): return 'one'\n"
        "def disable_eager_execution():\n    global eager\n    eager = False\n"
    ),
    "tensorflow/compat/v1/train.py": "def own(): return 'one'\ndef GradientDescentOptimizer(): return 'one'\n",
    "torchvision/__init__.py": "",
    "torchvision/transforms.py": "def Resize(size): return size\ndef Scale(size): return 'own'\ndef RandomResizedCrop(size): return size\n",
    "xgboost.py": "class Booster(object):\n    def _validate_features(self, names):\n        raise ValueError(names)\n",
}


class Compat(unittest.TestCase):
    def setUp(self):
        self.package = Package()
        self.addCleanup(self.package.remove)
        for name, text in FAKE.items():
            self.package.write(name, text)

    def run_code(self, code, expect_failure=False):
        done = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", "from modelport_worker import compat; compat.install()\n" + code],
            env={"PYTHONPATH": os.pathsep.join([self.package.dir, PYTHON_DIR]), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=self.package.dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = done.communicate()
        self.assertEqual(done.returncode != 0, expect_failure, err.decode())
        return out.decode().strip() or err.decode()

    def test_joblib_is_one_module_under_both_names(self):
        self.run_code(
            "from sklearn.externals import joblib, six\nimport joblib as real\nassert joblib is real\nassert six.PY3\n"
            "import sklearn.externals.joblib.numpy_pickle as a, joblib.numpy_pickle as b\nassert a is b\n"
            "assert real.__spec__.name == 'joblib', real.__spec__\nassert real.__name__ == 'joblib'\n"
        )

    def test_a_joblib_that_scikit_learn_brings_itself_is_preferred(self):
        self.package.write("sklearn/externals/joblib/__init__.py", "OWN = True\n")
        self.run_code("from sklearn.externals import joblib\nassert joblib.OWN\n")

    def test_old_module_names_lead_to_their_successors(self):
        self.run_code(
            "from sklearn.linear_model.logistic import LogisticRegression as a\n"
            "from sklearn.linear_model._logistic import LogisticRegression as b\nassert a is b\n"
            "import sklearn.tree.tree\nassert sklearn.tree.tree.Tree.__module__ == 'sklearn.tree._classes'\n"
            "import pickle\npickle.loads(b'csklearn.linear_model.logistic\\nLogisticRegression\\n.')\n"
        )

    def test_names_that_never_existed_still_fail(self):
        for name in ("sklearn.linear_model.nothing", "sklearn.nothing", "sklearn.externals.nothing"):
            self.assertIn("ModuleNotFoundError", self.run_code("import " + name, expect_failure=True))

    def test_numpy_gets_back_what_it_gave_up(self):
        self.run_code(
            "import sys\nassert 'numpy' not in sys.modules\nimport numpy as np\n"
            "assert np.bool is bool and np.float is float and np.object is object and np.Inf == np.inf\n"
            "assert np.float_ is np.float64 and np.string_ is bytes\n"
        )

    def test_names_that_numpy_still_has_are_left_alone(self):
        self.package.write("numpy.py", "bool = 'own'\n")
        self.run_code("import numpy\nassert numpy.bool == 'own'\n")

    def test_tensorflow_2_gets_the_names_it_lacks_and_keeps_its_own(self):
        self.package.write("service/customize_service.py", "sess = tf.Session()\n")
        code = (
            "from modelport_worker.compat import tensorflow1\ntensorflow1.install(%r)\nimport tensorflow as tf\n"
            "assert (tf.Session(), tf.train.GradientDescentOptimizer()) == ('one', 'one')\n"
            "assert (tf.load(), tf.train.own(), tf.__version__) == ('two', 'two', '2')\nprint(tf.compat.v1.eager)\n"
            % os.path.join(self.package.dir, "service")
        )
        self.assertEqual(self.run_code(code), "True")
        self.package.write("service/model.py", "x = tf.placeholder(tf.float32)\n")
        self.assertTrue(self.run_code(code).endswith("False"))

    def test_tensorflow_1_is_left_as_it_is(self):
        self.package.write("tensorflow/__init__.py", "def Session(): return 'own'\n")
        self.run_code(
            "from modelport_worker.compat import tensorflow1\ntensorflow1.install('/')\nimport tensorflow as tf\n"
            "assert tf.Session() == 'own' and not hasattr(tf, 'train')\n"
        )

    def test_torch_reads_whole_models_and_torchvision_has_its_old_names(self):
        code = (
            "import os\nfrom modelport_worker.compat import torch\ntorch.install('')\nimport torchvision.transforms as t\n"
            "assert t.RandomSizedCrop(2) == 2 and t.Scale(2) == 'own'\nprint(os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'])\n"
        )
        self.assertEqual(self.run_code(code), "1")
        # Whoever wants it otherwise says so.
        self.assertEqual(self.run_code("import os\nos.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '0'\n" + code), "0")

    def test_xgboost_accepts_rows_without_names_and_still_checks_names_that_are_given(self):
        self.run_code(
            "import xgboost\nb = xgboost.Booster()\nassert b._validate_features(None) is None\n"
            "try:\n    b._validate_features(['x'])\nexcept ValueError:\n    print('checked')\n"
            "class D: feature_names = None\nassert b._validate_features(D()) is None\n"
        )


if __name__ == "__main__":
    unittest.main()
