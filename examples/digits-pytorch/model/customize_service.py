# coding: utf-8
import numpy as np
import torch
from PIL import Image

import model_service.log as log
from model_service.pytorch_model_service import PTServingBaseService

logger = log.getLogger(__name__)


class DigitsService(PTServingBaseService):
    # The model is loaded once, when the instance starts, and not for every request.
    def __init__(self, model_name, model_path):
        super(DigitsService, self).__init__(model_name, model_path)
        self.model = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(784, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10)
        )
        self.model.load_state_dict(torch.load(model_path, map_location="cpu"))
        self.model.eval()

    # The form's files arrive as {key: {file name: file}}.
    def _preprocess(self, data):
        images = []
        for files in data.values():
            for name, content in files.items():
                image = Image.open(content).convert("L").resize((28, 28))
                images.append(np.asarray(image, dtype=np.float32) / 255)
        logger.info("%d picture(s)", len(images))
        return torch.from_numpy(np.array(images))

    def _inference(self, data):
        with torch.no_grad():
            return self.model(data)

    def _postprocess(self, data):
        return {"digits": [int(scores.argmax()) for scores in data]}
