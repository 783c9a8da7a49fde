# coding: utf-8
import numpy as np
import caffe
from PIL import Image

import model_service.log as log
from model_service.caffe_model_service import CaffeBaseService

logger = log.getLogger(__name__)


class DigitsService(CaffeBaseService):

    # The form's files arrive as {key: {file name: file}}.
    def _preprocess(self, data):
        images = []
        for files in data.values():
            for name, content in files.items():
                image = Image.open(content).convert("L").resize((28, 28))
                images.append(np.asarray(image, dtype=np.float32) / 255)
        logger.info("%d picture(s)", len(images))
        return np.array(images)[:, np.newaxis]

    def _inference(self, data):
        # The base class has loaded deploy.prototxt and the weights into self.net.
        self.net.blobs["data"].reshape(*data.shape)
        self.net.blobs["data"].data[...] = data
        return self.net.forward()["prob"]

    def _postprocess(self, data):
        return {"digits": [int(scores.argmax()) for scores in data]}
