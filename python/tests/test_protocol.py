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
            self.assertEqual(channel.read(), (header, body), path)

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
            self.assertEqual(channel.read(), load(path)[:2])
        writer.join()

    def test_carries_bodies_larger_than_every_buffer_both_ways(self):
        body = os.urandom(3 * 1024 * 1024 + 7)
        header = {"t": "answer", "id": 1}
        writer = threading.Thread(target=lambda: Channel(self.far).write(header, body))
        writer.start()
        channel = Channel(self.near)
        self.assertEqual(channel.read(), (header, body))
        writer.join()

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
