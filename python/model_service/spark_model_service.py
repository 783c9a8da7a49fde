# coding: utf-8
"""The base class of Spark_MLlib packages (contract: the guide's chapters 4.1.3 and 4.3.6)."""
import builtins
import os
import shutil
import sys
import tempfile

from model_service.base import BaseService


class SparkServingBaseService(BaseService):
    """`_preprocess` gets the raw body; `self.spark`, also there as `spark`, is the session of this process."""

    _spark = None
    _default_model = None

    def __init__(self, model_path=""):
        self.model_path = model_path
        self.spark  # made now, so that the service is ready only when predictions are quick

    @property
    def spark(self):
        # Not in the constructor alone, which packages replace.
        if self._spark is None:
            self._spark = open_session()
        return self._spark

    @spark.setter
    def spark(self, session):
        self._spark = session

    def _inference(self, data):
        model = self._default_model or self.load_default_model()
        return model.transform(data)

    def load_default_model(self):
        """Loads whatever model or pipeline was saved at `model_path`. Returns it."""
        from pyspark.ml.util import DefaultParamsReader

        self._default_model = DefaultParamsReader.loadParamsInstance(self.model_path, self.spark.sparkContext)
        return self._default_model


def open_session():
    """One Spark in this process and its own Java machine: one core, no web page, nothing listening but on this host."""
    java = os.path.join(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else shutil.which("java")
    if java is None or not os.path.exists(java):
        raise RuntimeError(
            "Spark needs Java (8 to 17), and %s; install a Java 17 runtime on this machine"
            % ("there is none on the PATH" if java is None else "%s does not exist" % java)
        )
    # Spark's own worker processes must be this interpreter, not whatever `python3` is.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    scratch = tempfile.gettempdir()
    session = (
        SparkSession.builder.master("local[1]")
        .appName("modelport")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.local.dir", scratch)
        .config("spark.sql.warehouse.dir", os.path.join(scratch, "spark-warehouse"))
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.default.parallelism", "1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    if not hasattr(builtins, "spark"):
        builtins.spark = session
    return session
