"""Ray Serve in its high-throughput mode, with its batching."""
import os
import signal

os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
import ray  # noqa: E402
from ray import serve  # noqa: E402
from starlette.requests import Request  # noqa: E402


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class Iris:
    def __init__(self):
        from model import answer_of, model, rows_of

        self.answer_of, self.model, self.rows_of = answer_of, model, rows_of

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def predict(self, requests):
        rows = [self.rows_of(request) for request in requests]
        output = self.model.predict([row for one in rows for row in one]).tolist()
        answers = []
        for one in rows:
            answers.append(self.answer_of(output[: len(one)]))
            output = output[len(one) :]
        return answers

    async def __call__(self, request: Request):
        return await self.predict(await request.json())


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
serve.run(Iris.bind(), route_prefix="/")
signal.pause()
