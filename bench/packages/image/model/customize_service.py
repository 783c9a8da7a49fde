# coding: utf-8
"""The package of the image bench: a form with one picture under `images`."""
import network
from model_service.pytorch_model_service import PTServingBaseService


class PictureService(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super(PictureService, self).__init__(model_name, model_path)
        self.model = network.load(model_path)

    def _preprocess(self, data):
        for file in data["images"].values():
            return network.read_picture(file)

    def _inference(self, data):
        return network.infer(self.model, data)

    def _postprocess(self, data):
        return network.answer_of(data)
