# coding: utf-8
import numpy as np
from PIL import Image

import model_service.log as log
from model_service.model_service import SingleNodeService

logger = log.getLogger(__name__)


class DigitsService(SingleNodeService):

    # The form's files arrive as {key: {file name: file}}.
    def _preprocess(self, data):
        images = []
        for files in data.values():
            for name, content in files.items():
                image = Image.open(content).convert("L").resize((28, 28))
                images.append(np.asarray(image, dtype=np.float32) / 255)
        logger.info("%d picture(s)", len(images))
        return np.array(images)

    def _inference(self, data):
        # The base class runs the network, which was exported for one picture at a time.
        run = super(DigitsService, self)._inference
        return np.array([run(image[np.newaxis])[0] for image in data])

    def _postprocess(self, data):
        return {"digits": [int(scores.argmax()) for scores in data]}
