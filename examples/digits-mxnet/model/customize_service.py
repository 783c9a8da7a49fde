# coding: utf-8
import numpy as np
from PIL import Image

import model_service.log as log
from mms.model_service.mxnet_model_service import MXNetBaseService

logger = log.getLogger(__name__)


class DigitsService(MXNetBaseService):

    # The form's files arrive as {key: {file name: file}}.
    def _preprocess(self, data):
        images = []
        for files in data.values():
            for name, content in files.items():
                image = Image.open(content).convert("L").resize((28, 28))
                images.append(np.asarray(image, dtype=np.float32) / 255)
        logger.info("%d picture(s)", len(images))
        return [np.array(images)]

    def _inference(self, data):
        # The base class has loaded the symbol and its parameters; it takes a list of inputs and gives one of outputs.
        outputs = super(DigitsService, self)._inference(data)
        return outputs[0].asnumpy()

    def _postprocess(self, data):
        return {"digits": [int(scores.argmax()) for scores in data]}
