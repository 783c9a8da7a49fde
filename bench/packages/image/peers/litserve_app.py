"""LitServe with its batching, up to 64 requests, and its faster queue: litserve_app.py SECONDS that a batch is waited for."""
import os
import sys

import litserve
import torch
from network import answer_of, infer, load, read_picture


class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = load(os.environ["MODEL"])

    def decode_request(self, request):
        return read_picture(request["images"].file)

    def batch(self, inputs):
        return torch.cat(inputs)

    def predict(self, rows):
        return infer(self.model, rows)

    def unbatch(self, output):
        return list(output.split(1))

    def encode_response(self, output):
        return answer_of(output)


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=float(sys.argv[1]), api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(port=int(os.environ["PORT"]), host="127.0.0.1", generate_client_file=False, log_level="warning", num_api_servers=1)
