from model_service.caffe_model_service import CaffeBaseService

import numpy as np

import os, json

import caffe

from PIL import Image

class LenetService(CaffeBaseService):

    def __init__(self, model_name, model_path):
        # Call the inference method of the parent class.
        super(LenetService, self).__init__(model_name, model_path)

        # Configure preprocessing information.
        transformer = caffe.io.Transformer({'data': self.net.blobs['data'].data.shape})
        # Transform to NCHW.
        transformer.set_transpose('data', (2, 0, 1))
        # Perform normalization.
        transformer.set_raw_scale('data', 255.0)

        # If the batch size is set to 1, inference is supported for only one image.
        self.net.blobs['data'].reshape(1, 1, 28, 28)
        self.transformer = transformer

        # Define the class labels.
        self.label = [0,1,2,3,4,5,6,7,8,9]

    def _preprocess(self, data):

        for k, v in data.items():
            for file_name, file_content in v.items():
                im = caffe.io.load_image(file_content, color=False)
                # Pre-process the images.
                self.net.blobs['data'].data[...] = self.transformer.preprocess('data', im)

        return

    def _postprocess(self, data):

        data = data['prob'][0, :]
        predicted = np.argmax(data)
        predicted = {"predicted" : str(predicted) }

        return predicted
