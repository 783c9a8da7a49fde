# coding: utf-8
import collections
import json
import random
import unittest

import support  # noqa: F401

from modelport_worker.requests import InputError, read_request


def form(*parts, **header):
    """A request as the front sends it: (name, content) is a text field, (name, content, filename) a file."""
    described = []
    for part in parts:
        one = {"name": part[0], "size": len(part[1])}
        if len(part) > 2:
            one["filename"] = part[2]
        if len(part) > 3:
            one["contentType"] = part[3]
        described.append(one)
    sent = dict({"contentType": "multipart/form-data", "query": "", "parts": described}, **header)
    return read_request(sent, b"".join(part[1] for part in parts))


def raw(body, content_type="application/json", query=""):
    return read_request({"contentType": content_type, "query": query, "parts": [{"name": "", "size": len(body)}]}, body)


def plain(data):
    return [(k, v if isinstance(v, str) else [(n, f.read()) for n, f in v.items()]) for k, v in data.items()]


class Requests(unittest.TestCase):
    def test_files_of_one_key_keep_their_order_beside_other_keys_and_fields(self):
        data = form(("b", b"1", "z.jpg"), ("n", b"5"), ("b", b"2", "a.jpg"), ("a", b"\xff\x00", "m.jpg"))
        self.assertIsInstance(data["b"], collections.OrderedDict)
        self.assertEqual(plain(data), [("b", [("z.jpg", b"1"), ("a.jpg", b"2")]), ("n", "5"), ("a", [("m.jpg", b"\xff\x00")])])

    def test_no_file_is_lost_to_another_of_its_name(self):
        data = form(("k", b"1", "a.jpg"), ("k", b"2", "a.jpg"), ("k", b"3", "a (2).jpg"), ("k", b"4", "a.jpg"))
        self.assertEqual([f.read() for f in data["k"].values()], [b"1", b"2", b"3", b"4"])
        self.assertEqual(list(data["k"])[:2], ["a.jpg", "a (2).jpg"])

    def test_any_files_come_back_as_they_were_sent(self):
        chance = random.Random(5)
        for _ in range(200):
            sent = collections.OrderedDict()
            parts = []
            for _ in range(chance.randrange(8)):
                name, content = chance.choice("abc"), bytes(bytearray(chance.randrange(256) for _ in range(chance.randrange(30))))
                parts.append((name, content, "f"))
                sent.setdefault(name, []).append(content)
            data = form(*parts)
            self.assertEqual([(k, [f.read() for f in v.values()]) for k, v in data.items()], list(sent.items()))

    def test_an_input_without_a_chosen_file_is_left_out_and_an_empty_file_is_not(self):
        self.assertEqual(plain(form(("a", b"", ""), ("b", b"", "empty.txt"))), [("b", [("empty.txt", b"")])])

    def test_text_is_read_in_its_charset_and_the_last_of_a_name_counts(self):
        self.assertEqual(plain(form(("a", b"1"), ("a", u"ñ".encode("utf-8")))), [("a", u"ñ")])
        described = {"name": "a", "size": 1, "contentType": 'text/plain; charset="iso-8859-1"'}
        header = {"contentType": "multipart/form-data", "query": "", "parts": [described]}
        self.assertEqual(read_request(header, b"\xf1"), {"a": u"ñ"})

    def test_refuses_text_that_is_not_text_and_fields_that_are_both(self):
        for parts in ([("a", b"\xff")], [("a", b"1"), ("a", b"2", "f")], [("a", b"1", "f"), ("a", b"2")]):
            self.assertRaises(InputError, form, *parts)

    def test_json_is_parsed_whatever_type_it_claims(self):
        for content_type in ("application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", ""):
            self.assertEqual(raw(b'{"images": "aGk="}', content_type), {"images": "aGk="})
        self.assertEqual(raw(b"\xef\xbb\xbf[1]"), [1])

    def test_refuses_what_is_neither(self):
        for body in (b"", b"no JSON", b"\xff\xd8\xff", b"[" * 100000, b"a=1&b=2"):
            self.assertRaises(InputError, raw, body)

    def test_query_parameters_are_merged_as_strings_and_the_body_wins(self):
        self.assertEqual(raw(b'{"a": 1}', query="a=2&b=3&c=&d=%C3%B1"), {"a": 1, "b": "3", "c": "", "d": u"ñ"})
        self.assertEqual(plain(form(("a", b"1", "f"), query="a=2&b=3")), [("a", [("f", b"1")]), ("b", "3")])
        self.assertEqual(raw(b"[1]", query="a=2"), [1])
        self.assertEqual(raw(b"", "", "a=2"), {"a": "2"})

    def test_the_names_order_of_json_is_kept(self):
        names = [str(n) for n in range(50)]
        random.Random(1).shuffle(names)
        self.assertEqual(list(raw(json.dumps(collections.OrderedDict((n, 1) for n in names)).encode())), names)


if __name__ == "__main__":
    unittest.main()
