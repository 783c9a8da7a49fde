"""pytriton: Triton's own front and dynamic batcher around a Python function; requests in its own (V2) form."""
import os

import numpy as np
from model import model
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def predict(rows):
    return [model.predict(rows).reshape(-1, 1).astype("S")]


port = int(os.environ["PORT"])
config = TritonConfig(http_port=port, http_address="127.0.0.1", allow_grpc=False, allow_metrics=False, log_verbose=0)
with Triton(config=config) as triton:
    triton.bind(
        model_name="iris",
        infer_func=predict,
        inputs=[Tensor(name="rows", dtype=np.float64, shape=(4,))],
        outputs=[Tensor(name="predictions", dtype=bytes, shape=(1,))],
        config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=1000)),
    )
    triton.serve()
