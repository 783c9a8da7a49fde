"""BentoML with adaptive batching: the entry takes one request, the model a batch."""
from __future__ import annotations

import bentoml
from model import answer_of, model, rows_of


@bentoml.service(workers=1, traffic={"timeout": 60})
class Iris:
    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000, route="/")
    def predict(self, data: list[dict]) -> list[dict]:
        requests = [{"data": one} for one in data]
        counts = [len(one["data"]["req_data"]) for one in requests]
        output = model.predict([row for one in requests for row in rows_of(one)]).tolist()
        answers = []
        for count in counts:
            answers.append(answer_of(output[:count]))
            output = output[count:]
        return answers
