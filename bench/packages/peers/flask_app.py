"""gunicorn + Flask: one worker, sync or gevent."""
from flask import Flask, jsonify, request
from model import answer_of, model, rows_of

app = Flask(__name__)


@app.post("/")
def predict():
    return jsonify(answer_of(model.predict(rows_of(request.get_json(force=True))).tolist()))
