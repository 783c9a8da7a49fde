"""MLServer with its scikit-learn runtime and adaptive batching; requests in its own (V2) form."""
import asyncio
import os

from mlserver import MLServer, ModelSettings, Settings
from mlserver.settings import ModelParameters


async def main():
    port = int(os.environ["PORT"])
    settings = Settings(host="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_port=port + 2, parallel_workers=0, debug=False)
    server = MLServer(settings)
    await server.start([
        ModelSettings(
            name="iris",
            implementation="mlserver_sklearn.SKLearnModel",
            parameters=ModelParameters(uri=os.environ["MODEL"]),
            max_batch_size=64,
            max_batch_time=0.001,
        )
    ])


asyncio.run(main())
