# coding: utf-8
"""Caffe's text files, read far enough to know a net's inputs, outputs and which layer makes which blob."""
import collections
import re

_TOKEN = re.compile(r"""\s+|\#[^\n]*|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<sign>[{}<>:\[\],;])|(?P<word>[^\s{}<>:\[\],;"'\#]+)""")

_PHASES = ("TRAIN", "TEST")
# What a net itself may hold (NetParameter of caffe.proto).
_OF_A_NET = {"name", "input", "input_shape", "input_dim", "force_backward", "state", "debug_info", "layer", "layers"}

# inputs: name -> shape, in order. makers: blob -> name of the last layer that writes it. outputs: blobs nobody reads.
# text: the file without what OpenCV's stricter reader refuses. surplus: how many closing braces were dropped.
Description = collections.namedtuple("Description", "inputs makers outputs text surplus")


def describe(text, phase):
    """What the prototxt says for a phase (0 TRAIN, 1 TEST). Raises ValueError when it cannot be read."""
    message, cleaned, surplus = _parse(text)
    # The guide's own net has closing braces too many, after its layers. Where one stands before the end of a layer, the rest
    # of that layer has fallen out of it, and the net would be another one.
    outside = [key for key in message if key not in _OF_A_NET]
    if surplus and outside:
        raise ValueError(
            "the prototxt closes more braces than it opens, which leaves %s outside of any layer; "
            "a brace before it is one too many" % outside[0]
        )
    layers = [layer for layer in _all(message, "layer") + _all(message, "layers") if _is_in(layer, _PHASES[phase])]
    inputs = _header_inputs(message)
    makers = collections.OrderedDict()
    read = set()
    for layer in layers:
        kind, name = str(_first(layer, "type", "")), _first(layer, "name", "")
        tops, bottoms = _all(layer, "top"), _all(layer, "bottom")
        if kind == "Input":
            shapes = [_numbers(shape, "dim") for shape in _all(_first(layer, "input_param", {}), "shape")]
            for number, top in enumerate(tops):
                if not shapes:
                    raise ValueError("the Input layer %s has no shape" % name)
                inputs[top] = shapes[min(number, len(shapes) - 1)]
            continue
        if not bottoms:
            continue  # Data layers of a training net: their blobs have no place here
        read.update(bottom for bottom in bottoms if bottom not in tops)
        for top in tops:
            makers[top] = name
    if not inputs:
        raise ValueError(
            "the prototxt describes no input (no Input layer, no input: and input_dim:); "
            "serving needs the deploy form of the net, not the one for training"
        )
    outputs = [blob for blob in makers if blob not in read]
    return Description(inputs, makers, outputs, cleaned, surplus)


def _parse(text):
    root = {}
    stack = [root]
    kept = []
    key = None
    surplus = 0
    position = 0
    in_list = False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ValueError("the prototxt cannot be read at line %d" % line)
        position = match.end()
        string, sign, word = match.group("text", "sign", "word")
        if sign in ("}", ">") and len(stack) == 1:
            surplus += 1
            continue
        kept.append(match.group(0))
        if sign in ("{", "<"):
            child = {}
            stack[-1].setdefault(key, []).append(child)
            stack.append(child)
            key = None
        elif sign in ("}", ">"):
            stack.pop()
            key = None
        elif sign == "[":
            in_list = True
        elif sign == "]":
            in_list = False
            key = None
        elif string is not None or word is not None:
            value = string[1:-1] if string is not None else word
            if key is None:
                key = value
            else:
                stack[-1].setdefault(key, []).append(value)
                if not in_list:
                    key = None
    if len(stack) != 1:
        raise ValueError("the prototxt ends inside of %d open {" % (len(stack) - 1))
    return root, "".join(kept), surplus


def _all(message, key):
    return message.get(key, [])


def _first(message, key, default):
    return message[key][0] if message.get(key) else default


def _numbers(message, key):
    return tuple(int(value) for value in _all(message, key))


def _header_inputs(message):
    names = _all(message, "input")
    shapes = [_numbers(shape, "dim") for shape in _all(message, "input_shape")]
    dims = _numbers(message, "input_dim")
    shapes = shapes or [dims[start : start + 4] for start in range(0, len(dims), 4)]
    if len(shapes) < len(names):
        raise ValueError("the prototxt names the inputs %s and has %d shapes" % (", ".join(names), len(shapes)))
    return collections.OrderedDict(zip(names, shapes))


def _is_in(layer, phase):
    includes = [_first(rule, "phase", phase) for rule in _all(layer, "include")]
    excludes = [_first(rule, "phase", None) for rule in _all(layer, "exclude")]
    return (not includes or phase in includes) and phase not in excludes
