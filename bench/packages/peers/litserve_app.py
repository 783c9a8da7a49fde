"""LitServe with its batching: up to 64 requests, 1 ms."""
import os

import litserve
from model import answer_of, model, rows_of


class Api(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return rows_of(request)

    def batch(self, inputs):
        self.counts = [len(rows) for rows in inputs]
        return [row for rows in inputs for row in rows]

    def predict(self, rows):
        return model.predict(rows).tolist()

    def unbatch(self, output):
        outputs = []
        for count in self.counts:
            outputs.append(output[:count])
            output = output[count:]
        return outputs

    def encode_response(self, output):
        return answer_of(output)


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=0.001, api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(os.environ["PORT"]), host="127.0.0.1", generate_client_file=False, log_level="warning", num_api_servers=1)
