"""A forest of 100 trees on the same data as examples/iris: python forest.py FILE.m"""
import sys

import joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

data = load_iris()
names = [data.target_names[target] for target in data.target]
joblib.dump(RandomForestClassifier(n_estimators=100, random_state=7).fit(data.data, names), sys.argv[1])
