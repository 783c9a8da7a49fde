# coding: utf-8
"""caffe.io: pictures to arrays, and arrays to what a net was trained on. Same results as pycaffe's, without skimage."""
import numpy as np

_GREY = np.array([0.2125, 0.7154, 0.0721], dtype=np.float32)  # skimage's weights, which Caffe's users trained with


def load_image(filename, color=True):
    """A picture (path or file object) as float32 HxWxC in 0..1: RGB, or one channel when `color` is False."""
    from PIL import Image

    picture = Image.open(filename)
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        picture = picture.convert("RGB")
    elif picture.mode == "1":
        picture = picture.convert("L")
    array = np.asarray(picture)
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / 255.0
    elif array.dtype.kind in "ui":
        array = array.astype(np.float32) / 65535.0
    else:
        array = array.astype(np.float32)
    if array.ndim == 3 and array.shape[2] == 2:  # grey with transparency
        array = array[:, :, 0]
    if not color:
        grey = array if array.ndim == 2 else np.dot(array[:, :, :3], _GREY)
        return grey[:, :, np.newaxis].astype(np.float32)
    if array.ndim == 2:
        return np.tile(array[:, :, np.newaxis], (1, 1, 3))
    return array[:, :, :3]


def resize_image(im, new_dims, interp_order=1):
    """HxWxC to the height and width of `new_dims`."""
    import cv2

    how = {0: cv2.INTER_NEAREST, 1: cv2.INTER_LINEAR, 3: cv2.INTER_CUBIC}.get(interp_order, cv2.INTER_LINEAR)
    height, width = int(new_dims[0]), int(new_dims[1])
    resized = cv2.resize(np.ascontiguousarray(im, dtype=np.float32), (width, height), interpolation=how)
    return resized[:, :, np.newaxis] if resized.ndim == 2 else resized


def oversample(images, crop_dims):
    """The four corners and the centre of each picture, and their mirror images."""
    height, width = np.array(images[0].shape[:2])
    crop = np.array(crop_dims, dtype=int)
    tops, lefts = (0, height - crop[0]), (0, width - crop[1])
    corners = [(top, left) for top in tops for left in lefts] + [((height - crop[0]) // 2, (width - crop[1]) // 2)]
    cut = []
    for image in images:
        crops = [image[top : top + crop[0], left : left + crop[1], :] for top, left in corners]
        cut += crops + [part[:, ::-1, :] for part in crops]
    return np.array(cut, dtype=np.float32)


def blobproto_to_array(blob, return_diff=False):
    data = np.array(blob.diff if return_diff else blob.data)
    dims = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    return data.reshape(dims)


class Transformer(object):
    """The steps before a net, per input: resize, transpose, swap channels, scale, subtract the mean, scale."""

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose = {}
        self.channel_swap = {}
        self.raw_scale = {}
        self.mean = {}
        self.input_scale = {}

    def _check(self, in_):
        if in_ not in self.inputs:
            raise Exception("%s is not one of the net inputs: %s" % (in_, list(self.inputs)))

    def set_transpose(self, in_, order):
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception("Transpose order needs to have the same number of dimensions as the input.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_, order):
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception("Channel swap needs to have the same number of dimensions as the input channels.")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_, scale):
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_input_scale(self, in_, scale):
        self._check(in_)
        self.input_scale[in_] = scale

    def set_mean(self, in_, mean):
        """Per channel, or one value per pixel; a picture of means of another size is resized."""
        self._check(in_)
        mean = np.asarray(mean)
        channels, shape = self.inputs[in_][1], tuple(self.inputs[in_][2:])
        if mean.ndim == 1:
            if mean.shape[0] != channels:
                raise ValueError("Mean channels incompatible with input.")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            if mean.ndim == 2:
                mean = mean[np.newaxis]
            if mean.ndim != 3:
                raise ValueError("Mean shape invalid")
            if mean.shape[0] != channels:
                raise ValueError("Mean channels incompatible with input.")
            if mean.shape[1:] != shape:
                mean = resize_image(mean.transpose((1, 2, 0)), shape).transpose((2, 0, 1))
        self.mean[in_] = mean

    def preprocess(self, in_, data):
        self._check(in_)
        array = np.asarray(data).astype(np.float32, copy=False)
        shape = tuple(self.inputs[in_][2:])
        if array.shape[:2] != shape:
            array = resize_image(array, shape)
        if in_ in self.transpose:
            array = array.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            array = array[list(self.channel_swap[in_]), :, :]
        if in_ in self.raw_scale:
            array = array * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            array = array - self.mean[in_]
        if in_ in self.input_scale:
            array = array * np.float32(self.input_scale[in_])
        return array

    def deprocess(self, in_, data):
        """The way back, but for the size."""
        self._check(in_)
        array = np.array(data, dtype=np.float32).squeeze()
        if in_ in self.input_scale:
            array = array / self.input_scale[in_]
        if in_ in self.mean:
            array = array + self.mean[in_]
        if in_ in self.raw_scale:
            array = array / self.raw_scale[in_]
        if in_ in self.channel_swap:
            array = array[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            array = array.transpose(np.argsort(self.transpose[in_]))
        return array
