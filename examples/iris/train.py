# coding: utf-8
"""Trains the iris classifier of this example and writes model/sklearn.m.

Run it with the library versions of the runtime the package asks for (README.md); the result is the same every time:
the data set ships with scikit-learn, and the solver starts from a fixed state.
"""
import os

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

iris = load_iris()
names = iris.target_names[iris.target]

logistic_regression = LogisticRegression(C=1000.0, random_state=0, max_iter=2000)
logistic_regression.fit(iris.data, names)

predicted = logistic_regression.predict(iris.data)
print("accuracy ", accuracy_score(names, predicted))
print("f1       ", f1_score(names, predicted, average="macro"))
print("precision", precision_score(names, predicted, average="macro"))
print("recall   ", recall_score(names, predicted, average="macro"))

here = os.path.dirname(os.path.abspath(__file__))
joblib.dump(logistic_regression, os.path.join(here, "model", "sklearn.m"))
