"""Where the worker's time goes when 64 requests of one row are joined, step by step in one process, nothing waiting for anything:
what is left to the model bounds what a server can make of it.

    PYTHONPATH=python python bench/packages/steps.py MODEL.m NAME > bench/packages/steps-NAME.txt

Python is an environment of bench/packages/setup.ts with the model's libraries. Medians; each step is timed by itself, by turns.
"""
import gc
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from modelport_worker import compat, joining  # noqa: E402
from modelport_worker.engines import open_engine  # noqa: E402
from modelport_worker.protocol import Channel  # noqa: E402

ROWS, ROUNDS = 64, 150
HERE = os.path.dirname(os.path.abspath(__file__))


def body(n):
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    values = (4.5 + n * 0.2, 3 + (n % 9) / 10, 1 + n * 0.35, 0.1 + n * 0.15)
    return json.dumps({"data": {"req_data": [dict(zip(names, (round(value, 2) for value in values)))]}}).encode()


def main(model, name):
    package = tempfile.mkdtemp()
    try:
        shutil.copy(model, os.path.join(package, "model.m"))
        shutil.copy(os.path.join(HERE, "../../examples/iris/model/customize_service.py"), package)
        compat.install()
        engine = open_engine({"engine": "Scikit_Learn", "packageDir": package, "modelFile": "model.m", "modelName": name})
    finally:
        shutil.rmtree(package)
    gc.collect()
    gc.freeze()
    front, worker = map(Channel, socket.socketpair())
    bodies = [body(n % 16) for n in range(ROWS)]
    requests = [
        {"id": n, "contentType": "application/json", "query": "", "parts": [{"name": "", "size": len(one)}]}
        for n, one in enumerate(bodies)
    ]
    bare = joining.join([engine.prepare(request, one) for request, one in zip(requests, bodies)])
    model_object = engine._service.sk_model
    times = {}

    def timed(step, run):
        began = time.perf_counter()
        result = run()
        times.setdefault(step, []).append(time.perf_counter() - began)
        return result

    for _ in range(ROUNDS):
        timed("bare loop: predict(rows).tolist()", lambda: model_object.predict(bare).tolist())
        front.write({"t": "predict", "requests": requests}, b"".join(bodies))
        header, received = timed("read the frame", worker.read)
        values = timed("_preprocess of each (user code)", lambda: [engine.prepare(*pair) for pair in zip(header["requests"], received)])
        joined = timed("join", lambda: joining.join(values))
        result = timed("_inference (user code)", lambda: engine.infer(joined))
        pieces = timed("split", lambda: joining.split(result, [1] * ROWS))
        answers = timed("_postprocess of each (user code), JSON", lambda: [engine.finish(piece, one) for piece, one in zip(pieces, received)])
        frames = [({"t": "answer", "id": n, "stepsUs": [0, 9, 900, 9, 0]}, answer) for n, answer in enumerate(answers)]
        timed("write the answers", lambda: worker.write_all(frames))
        front.read()
    medians = {step: statistics.median(values) for step, values in times.items()}
    loop = medians.pop("bare loop: predict(rows).tolist()")
    whole = sum(medians.values())
    users = sum(value for step, value in medians.items() if "user code" in step)
    print("%s: %d requests of one row joined, %d rounds, medians. Python %s." % (name, ROWS, ROUNDS, sys.version.split()[0]))
    print("\n%-42s %9s %9s %7s" % ("step", "ms", "us/row", "share"))
    for step, value in medians.items():
        print("%-42s %9.3f %9.1f %6.1f%%" % (step, value * 1e3, value * 1e6 / ROWS, 100 * value / whole))
    print("%-42s %9.3f %9.1f" % ("bare loop: predict(rows).tolist()", loop * 1e3, loop * 1e6 / ROWS))
    print("\nOf the bare loop, at most: %.0f%% with user code alone and everything else for nothing, %.0f%% with all of the worker's own"
          " work,\nboth without any wait for callers and front." % (100 * loop / users, 100 * loop / whole))


main(*sys.argv[1:])
