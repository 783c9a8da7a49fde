"""The model that all servers serve, and rows of the requests they get: values in the order of the keys."""
import os

import joblib

model = joblib.load(os.environ["MODEL"])


def rows_of(request):
    return [list(row.values()) for row in request["data"]["req_data"]]


def answer_of(predictions):
    return {"data": {"resp_data": [{"predictresult": value} for value in predictions]}}
