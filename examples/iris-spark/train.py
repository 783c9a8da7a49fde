# coding: utf-8
"""Trains the iris classifier of this example and writes model/spark_model, a pipeline that takes the four measures and
answers the species. Run it with: modelport run . -- python train.py (Java 17 must be there)."""
import csv
import os

from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import IndexToString, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]

with open(os.path.join(HERE, "iris.csv")) as file:
    rows = [tuple(float(row[name]) for name in COLUMNS) + (row["name"],) for row in csv.DictReader(file)]

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
data = spark.createDataFrame(rows, COLUMNS + ["name"])
indexer = StringIndexer(inputCol="name", outputCol="label", stringOrderType="alphabetAsc").fit(data)
features = VectorAssembler(inputCols=COLUMNS, outputCol="features")
regression = LogisticRegression(regParam=0.001)
trained = Pipeline(stages=[features, regression]).fit(indexer.transform(data))
# What is saved takes no label: the index of the answer is turned back into its name.
names = IndexToString(inputCol="prediction", outputCol="species", labels=indexer.labels)
model = Pipeline(stages=trained.stages + [names]).fit(data)

predicted = model.transform(data)
print("accuracy", predicted.filter("species = name").count() / float(len(rows)))
model.write().overwrite().save(os.path.join(HERE, "model", "spark_model"))
spark.stop()
