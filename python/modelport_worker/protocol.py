# coding: utf-8
"""Frames between front and worker; the mirror of src/modelserver/protocol.ts (test/fixtures/protocol proves it).

A frame is two big-endian u32 (length of the header, length of the body), the header as JSON, the body as raw bytes.
The header's field `t` tells the frames apart:

  front -> worker  load         protocol, engine, packageDir, modelFile, modelName, modelVersion, batching? (off | on | auto)
                   predict      requests [{id, contentType, query, parts [{name, size, filename?, contentType?}], stream?}],
                                which may be joined; body: the parts of all. stream: the caller takes the answer item by
                                item, when it is an iterator
                   cancel       id; whoever took the items is gone
  worker -> front  ready        protocol, service, python, loadMs
                   load-failed  exception, traceback
                   item         id; body: the JSON of the next item of a streamed answer
                   answer       id, stepsUs?, items?; body: the JSON to send. items: how many were streamed, with an empty body
                   answers      answers [{id, stepsUs?, size}]; body: theirs, one after the other
                   failed       id, kind (input | lookup | code), exception, traceback, exits, stepsUs?
                   unanswered   id; the worker ends before this one of several requests
                   proving      the worker goes on with what it has after its replies: it compares answers, and is free after
                   proved
                   batching     state (on | off), text: what was decided about joining, and why

`stepsUs`: how long the worker had the request, in parts: before the first step, preprocess, inference, postprocess, after
them. A failure ends the list with the step it came from. Absent when user code replaced `inference` as a whole.
"""
import json
import select
import struct

PROTOCOL_VERSION = 2
_LENGTHS = struct.Struct(">II")
_BUFFER_BYTES = 128 * 1024
_HEADER_BYTES_MAX = 64 * 1024 * 1024
# Bodies up to this size are copied together rather than sent by themselves.
_JOINED_BYTES_MAX = 64 * 1024
_encode_header = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class ProtocolError(Exception):
    """What arrived is not a frame of this protocol."""


def encode_frame(header, body=b""):
    """The bytes before the body. The body is sent as it is, so it is never copied."""
    # surrogates in an exception's text must not keep the frame from being sent
    encoded = _encode_header(header).encode("utf-8", "backslashreplace")
    return _LENGTHS.pack(len(encoded), len(body)) + encoded


class Channel(object):
    """Reads and writes frames on one blocking stream socket."""

    def __init__(self, sock):
        self._sock = sock
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    def read(self):
        """The next (header, body), or None when the front has closed the connection between two frames. The body of a
        `predict` frame is a list: the bytes of each request."""
        if not self._fill(8):
            return None
        header_length, body_length = _LENGTHS.unpack_from(self._buffer, self._start)
        self._start += 8
        if header_length > _HEADER_BYTES_MAX:
            raise ProtocolError("header of %d bytes" % header_length)
        header = json.loads(self._take(header_length).decode("utf-8"))
        if header.get("t") != "predict":
            return header, self._take(body_length)
        bodies = []
        for request in header["requests"]:
            size = 0
            for part in request["parts"]:
                size += part["size"]
            body_length -= size
            bodies.append(self._take(size))
        if body_length != 0:
            raise ProtocolError("the parts and the body of a frame differ by %d bytes" % body_length)
        return header, bodies

    def _take(self, size):
        """The next bytes, waiting for them; the connection must not end before."""
        if size > self._end - self._start and size <= _JOINED_BYTES_MAX and not self._fill(size):
            raise ProtocolError("the connection ended inside a frame")
        here = min(size, self._end - self._start)
        start = self._start
        self._start += here
        if here == size:
            return bytes(self._view[start : start + size])
        # A large one is received where it stays.
        rest = bytearray(size)
        rest[:here] = self._view[start : start + here]
        self._receive_all(memoryview(rest)[here:])
        return bytes(rest)

    def write(self, header, body=b""):
        head = encode_frame(header, body)
        sent = self._sock.sendmsg([head, body])
        total = len(head) + len(body)
        if sent == total:
            return
        # A big body takes several calls: what is left of the head first, then of the body.
        if sent < len(head):
            self._sock.sendall(head[sent:])
            sent = len(head)
        self._sock.sendall(memoryview(body)[sent - len(head) :])

    def has_more(self):
        """Whether a frame, or the end of the connection, waits to be read."""
        return self._start < self._end or bool(select.select([self._sock], [], [], 0)[0])

    def write_all(self, frames):
        """Several (header, body) with as few frames and system calls as their size allows."""
        if len(frames) == 1:
            return self.write(*frames[0])
        answers, bodies = [], []
        for header, body in frames:
            if header["t"] == "answer" and len(body) <= _JOINED_BYTES_MAX:
                header["size"] = len(body)
                answers.append(header)
                bodies.append(body)
            else:
                self.write(header, body)
        if answers:
            self.write({"t": "answers", "answers": answers}, b"".join(bodies))

    def _fill(self, wanted):
        if self._start == self._end:
            self._start = self._end = 0
        while self._end - self._start < wanted:
            if self._start + wanted > _BUFFER_BYTES:
                held = bytes(self._view[self._start : self._end])
                self._buffer[: len(held)] = held
                self._start, self._end = 0, len(held)
            received = self._sock.recv_into(self._view[self._end :])
            if received == 0:
                if self._end == self._start:
                    return False
                raise ProtocolError("the connection ended inside a frame")
            self._end += received
        return True

    def _receive_all(self, view):
        while len(view) > 0:
            received = self._sock.recv_into(view)
            if received == 0:
                raise ProtocolError("the connection ended inside a frame")
            view = view[received:]
