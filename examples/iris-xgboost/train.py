# coding: utf-8
"""Trains the iris classifier of this example and writes model/xgboost.m; the same result every time."""
import os

import xgboost as xgb
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

iris = load_iris()
params = {
    "booster": "gbtree",
    "objective": "multi:softmax",
    "num_class": 3,
    "gamma": 0.1,
    "max_depth": 3,
    "lambda": 2,
    "eta": 0.3,
    "seed": 1000,
    "nthread": 1,
}
data = xgb.DMatrix(iris.data, iris.target)
model = xgb.train(params, data, 10)

predicted = model.predict(data)
print("accuracy ", accuracy_score(iris.target, predicted))
print("f1       ", f1_score(iris.target, predicted, average="macro"))
print("precision", precision_score(iris.target, predicted, average="macro"))
print("recall   ", recall_score(iris.target, predicted, average="macro"))

here = os.path.dirname(os.path.abspath(__file__))
# The bytes of save_model, which would warn of the name: the platform knows models of this engine by `.m`.
with open(os.path.join(here, "model", "xgboost.m"), "wb") as file:
    file.write(model.save_raw("ubj"))
