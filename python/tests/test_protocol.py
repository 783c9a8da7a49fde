# coding: utf-8
import base64
import glob
import json
import os
import socket
import threading
import unittest

from support import REPO

from modelport_worker.protocol import Channel, ProtocolError, encode_frame

FIXTURES = sorted(glob.glob(os.path.join(REPO, "test", "fixtures", "protocol", "*.json")))


def load(path):
    with open(path, "rb") as file:
        described = json.loads(file.read().decode("utf-8"))
    with open(path[: -len("json")] + "bin", "rb") as file:
        raw = file.read()
    return described["header"], base64.b64decode(described["bodyBase64"]), raw


def as_read(header, body):
    """A fixture as the worker reads it: the body of a predict frame comes request by request."""
    if header["t"] != "predict":
        return header, body
    bodies = []
    for request in header["requests"]:
        size = sum(part["size"] for part in request["parts"])
        bodies.append(body[:size])
        body = body[size:]
    return header, bodies


class Protocol(unittest.TestCase):
    def setUp(self):
        self.near, self.far = socket.socketpair()
        self.near.settimeout(30)
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def test_there_are_fixtures(self):
        self.assertGreaterEqual(len(FIXTURES), 8)

    def test_reads_every_fixture_as_the_front_wrote_it(self):
        channel = Channel(self.near)
        for path in FIXTURES:
            header, body, raw = load(path)
            self.far.sendall(raw)
            self.assertEqual(channel.read(), as_read(header, body), path)

    def test_writes_every_fixture_byte_for_byte(self):
        for path in FIXTURES:
            header, body, raw = load(path)
            self.assertEqual(encode_frame(header, body) + body, raw, path)

    def test_reads_frames_that_arrive_byte_by_byte(self):
        raw = b"".join(load(path)[2] for path in FIXTURES)

        def dribble():
            for i in range(len(raw)):
                self.far.sendall(raw[i : i + 1])

        writer = threading.Thread(target=dribble)
        writer.start()
        channel = Channel(self.near)
        for path in FIXTURES:
            self.assertEqual(channel.read(), as_read(*load(path)[:2]))
        writer.join()

    def test_carries_bodies_larger_than_every_buffer_both_ways(self):
        body = os.urandom(3 * 1024 * 1024 + 7)
        header = {"t": "answer", "id": 1}
        writer = threading.Thread(target=lambda: Channel(self.far).write(header, body))
        writer.start()
        channel = Channel(self.near)
        self.assertEqual(channel.read(), (header, body))
        writer.join()

    def test_cuts_a_body_into_those_of_the_requests_wherever_they_lie(self):
        sizes = [5, 0, 300 * 1024, 70 * 1024, 1, 64 * 1024]
        bodies = [os.urandom(size) for size in sizes]
        requests = [{"id": at, "contentType": "", "query": "x" * 40000, "parts": [{"name": "", "size": size}]} for at, size in enumerate(sizes)]
        writer = threading.Thread(target=lambda: Channel(self.far).write({"t": "predict", "requests": requests}, b"".join(bodies)))
        writer.start()
        header, got = Channel(self.near).read()
        writer.join()
        self.assertEqual(header["requests"], requests)
        self.assertEqual(got, bodies)

    def test_refuses_parts_that_do_not_add_up(self):
        request = {"id": 1, "contentType": "", "query": "", "parts": [{"name": "", "size": 2}]}
        Channel(self.far).write({"t": "predict", "requests": [request]}, b"abc")
        self.assertRaises(ProtocolError, Channel(self.near).read)

    def test_sends_small_answers_in_one_frame_and_everything_else_by_itself(self):
        big = b"x" * (64 * 1024 + 1)
        frames = [({"t": "answer", "id": 1}, b"a"), ({"t": "failed", "id": 2}, b""), ({"t": "answer", "id": 3}, big), ({"t": "answer", "id": 4}, b"bc")]
        writer = threading.Thread(target=lambda: Channel(self.near).write_all(frames))
        writer.start()
        channel = Channel(self.far)
        got = [channel.read() for _ in range(3)]
        writer.join()
        self.assertEqual([(header["t"], body) for header, body in got], [("failed", b""), ("answer", big), ("answers", b"abc")])
        self.assertEqual([(answer["id"], answer["size"]) for answer in got[2][0]["answers"]], [(1, 1), (4, 2)])

    def test_tells_the_end_between_frames_from_the_end_inside_one(self):
        raw = load(FIXTURES[0])[2]
        self.far.sendall(raw + raw[:11])
        self.far.close()
        channel = Channel(self.near)
        self.assertIsNotNone(channel.read())
        self.assertRaises(ProtocolError, channel.read)
        other_near, other_far = socket.socketpair()
        other_far.close()
        self.assertIsNone(Channel(other_near).read())
        other_near.close()


if __name__ == "__main__":
    unittest.main()
