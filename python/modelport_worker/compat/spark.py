# coding: utf-8
"""What Spark scripts of the guide take for granted: `pd` without an import, `LogisticRegression.load` of a saved model, and
lists of numbers where Spark wants vectors."""
import builtins
import glob
import importlib
import json
import logging
import os
import types

from modelport_worker.compat import patches

logger = logging.getLogger("modelport")


class _Pandas(types.ModuleType):
    """pandas, imported at its first use. In builtins, which a script's own names hide."""

    def __getattr__(self, name):
        return getattr(importlib.import_module("pandas"), name)


def install(package_dir):
    if not hasattr(builtins, "pd"):
        builtins.pd = _Pandas("pandas")
    patches.on_import("pyspark.ml.util", _readers)
    patches.on_import("pyspark.ml.base", _transformers)


def _readers(util):
    original = util.JavaMLReader.load
    told = set()

    def load(self, path):
        wanted = self._clazz
        saved = _saved_class(path)
        # The class that was saved is in the metadata; Java has no word for it when another one is asked for.
        if saved is not None and saved != "%s.%s" % (wanted.__module__, wanted.__name__):
            module, _, name = saved.rpartition(".")
            found = getattr(importlib.import_module(module), name, None)
            if found is not None and found is not wanted:
                if saved not in told:
                    told.add(saved)
                    logger.warning("%s.load was given a saved %s; it is loaded as what it is", wanted.__name__, name)
                return found.load(path)
        return original(self, path)

    util.JavaMLReader.load = load


def _saved_class(path):
    """pyspark's name of the class that a folder of this machine holds; None when it does not say."""
    folder = path[len("file:") :] if str(path).startswith("file:") else str(path)
    for part in sorted(glob.glob(os.path.join(glob.escape(folder), "metadata", "part-*"))):
        try:
            with open(part, encoding="utf-8") as file:
                name = json.loads(file.readline() or "{}").get("class", "")
        except (OSError, ValueError):
            return None
        if name.startswith("org.apache.spark."):
            return "pyspark." + name[len("org.apache.spark.") :]
        if name:
            return None  # a class of pyspark's own, saved by Python
    return None


def _transformers(base):
    original = base.Transformer.transform

    def transform(self, dataset, *args, **kwargs):
        return original(self, _with_vectors(self, dataset), *args, **kwargs)

    base.Transformer.transform = transform


def _with_vectors(transformer, dataset):
    """The same rows; a features column of number arrays, as JSON gives them, becomes one of vectors."""
    if not hasattr(transformer, "hasParam") or not transformer.hasParam("featuresCol"):
        return dataset
    from pyspark.sql.types import ArrayType, NumericType

    column = transformer.getOrDefault("featuresCol")
    field = next((field for field in dataset.schema.fields if field.name == column), None)
    if field is None or not isinstance(field.dataType, ArrayType) or not isinstance(field.dataType.elementType, NumericType):
        return dataset
    numbers = dataset[column].cast("array<double>")
    try:
        from pyspark.ml.functions import array_to_vector
    except ImportError:  # before 3.1
        from pyspark.ml.linalg import Vectors, VectorUDT
        from pyspark.sql.functions import udf

        array_to_vector = udf(lambda values: None if values is None else Vectors.dense(values), VectorUDT())
    return dataset.withColumn(column, array_to_vector(numbers))
