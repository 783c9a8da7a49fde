# coding: utf-8
"""The worker as a real process, with the interpreter that runs the tests. No third-party package is needed."""
import json
import os
import signal
import sys
import time
import unittest

from support import Package, RunningWorker

BASE = """
import json, os, sys, threading, time
from model_service.python_model_service import XgSklServingBaseService

class UserService(XgSklServingBaseService):
    def __init__(self, model_path):
        self.path = model_path
    def _preprocess(self, data):
        return json.loads(data)
    def _inference(self, data):
        return [len(json.dumps(data))]
    def _postprocess(self, data):
        return data
"""


class Worker(unittest.TestCase):
    def start(self, customize_service=BASE, **files):
        package = Package(customize_service=customize_service, **files)
        self.addCleanup(package.remove)
        worker = RunningWorker(package.dir)
        self.addCleanup(lambda: worker.process.poll() is None and (worker.process.kill(), worker.close()))
        return worker

    def load_failure(self, *args, **kwargs):
        worker = self.start(*args, **kwargs)
        self.assertEqual(worker.loaded["t"], "load-failed", worker.loaded)
        self.assertNotEqual(worker.close()[0], 0)
        return worker.loaded

    def test_answers_with_the_results_wrapped_and_meta_echoed(self):
        worker = self.start()
        self.assertEqual((worker.loaded["t"], worker.loaded["service"]), ("ready", "UserService"))
        header, body = worker.predict(b"{}")
        parts = header.pop("stepsUs")
        self.assertEqual(len(parts), 5)
        self.assertTrue(all(isinstance(part, int) and part >= 0 for part in parts), parts)
        self.assertEqual((header, json.loads(body.decode())), ({"t": "answer", "id": 1}, {"data": {"resp_data": [2]}}))
        body = worker.predict(b'{"meta": {"uuid": "u"}}')[1]
        self.assertEqual(json.loads(body.decode()), {"meta": {"uuid": "u"}, "data": {"resp_data": [25 - 2]}})
        self.assertEqual(worker.close()[0], 0)

    def test_passes_on_objects_that_are_already_wrapped(self):
        for returned in ({"data": {"resp_data": []}}, {"resp_data": [1]}, {"data": 1, "more": 2}):
            worker = self.start(BASE + "    def _postprocess(self, data):\n        return %r\n" % returned)
            self.assertEqual(json.loads(worker.predict(b'{"meta": {}}')[1].decode()), returned)
            worker.close()

    def test_gives_the_raw_body_and_the_model_path(self):
        worker = self.start(
            BASE + "    def inference(self, data):\n        return [type(data).__name__, len(data), self.model_path == self.path]\n"
        )
        big = b"\x00\xff" * 300000
        self.assertEqual(json.loads(worker.predict(big)[1].decode())["data"]["resp_data"], ["bytes", 600000, True])
        worker.close()

    def test_tells_kinds_of_failure_apart_and_goes_on(self):
        worker = self.start(
            BASE
            + """
    def _inference(self, data):
        if data == "key": return {}["missing"]
        if data == "type": return None + 1
        if data == "value": raise ValueError("bad row")
        if data == "object": return [object()]
        if data == "interrupt": raise KeyboardInterrupt()
        return [1]
"""
        )
        for sent, kind, exception in (
            (b"{bad", "input", "JSONDecodeError"),
            (b"", "input", "JSONDecodeError"),
            (b'"key"', "lookup", "KeyError: 'missing'"),
            (b'"type"', "lookup", "TypeError"),
            (b'"value"', "code", "ValueError: bad row"),
            (b'"object"', "code", "AnswerError: "),
            (b'"interrupt"', "code", "KeyboardInterrupt"),
        ):
            header = worker.predict(sent)[0]
            self.assertEqual((header["t"], header["kind"], header["exits"]), ("failed", kind, False), sent)
            self.assertIn(exception, header["exception"])
            self.assertIn(exception.split(":")[0], header["traceback"])
            self.assertNotIn("modelport_worker", header["traceback"].split("AnswerError")[0] if kind != "code" else "")
        self.assertEqual(worker.predict(b"{}")[0]["t"], "answer")
        worker.close()

    def test_answers_for_sys_exit_and_then_exits(self):
        worker = self.start(BASE + "    def _inference(self, data):\n        sys.exit(4)\n")
        header = worker.predict(b"{}")[0]
        self.assertEqual((header["t"], header["exits"], header["exception"]), ("failed", True, "SystemExit: 4"))
        self.assertEqual(worker.close()[0], 4)

    def test_reports_a_load_that_raises_or_exits_with_its_traceback(self):
        failure = self.load_failure("import json\nraise ValueError('no labels')\n")
        self.assertEqual(failure["exception"], "ValueError: no labels")
        self.assertIn("customize_service.py", failure["traceback"])
        self.assertNotIn("modelport_worker", failure["traceback"])
        self.assertEqual(self.load_failure("import sys\nsys.exit(3)\n")["exception"], "SystemExit: 3")
        self.assertIn("SyntaxError", self.load_failure("def broken(:\n")["exception"])
        self.assertIn("No module named", self.load_failure("import no_such_module_here\n")["exception"])

    def test_refuses_none_and_several_service_classes_and_names_them(self):
        self.assertIn("defines no class derived from XgSklServingBaseService (it defines Other)",
                      self.load_failure("class Other(object): pass\n")["exception"])
        text = self.load_failure(BASE + "class Second(XgSklServingBaseService): pass\n")["exception"]
        self.assertIn("2 classes", text)
        self.assertIn("Second, UserService", text)

    def test_finds_the_packages_own_modules_absolutely_and_relatively(self):
        worker = self.start(
            "from helper import WORD\nfrom . import other\nfrom .other import NUMBER\n"
            + BASE
            + "    def _inference(self, data):\n        return [WORD, other.NUMBER, NUMBER]\n",
            helper="WORD = 'w'\n",
            other="NUMBER = 5\n",
        )
        self.assertEqual(json.loads(worker.predict(b"{}")[1].decode())["data"]["resp_data"], ["w", 5, 5])
        worker.close()

    def test_accepts_both_constructors_the_missing_super_call_and_a_second_preprocess_parameter(self):
        for body, expected in (
            ("def __init__(self, model_name, model_path):\n        super().__init__(model_name, model_path)", ["m", True]),
            ("def __init__(self, model_path):\n        XgSklServingBaseService.__init__(self, model_path)", ["m", True]),
            ("def __init__(self, model_path):\n        pass", ["m", True]),
            ("pass", ["m", True]),
        ):
            worker = self.start(
                "import os\nfrom model_service.python_model_service import XgSklServingBaseService\n"
                "class S(XgSklServingBaseService):\n    %s\n"
                "    def _preprocess(self, data, context):\n        return context\n"
                "    def _inference(self, data):\n        return [self.model_name, os.path.isfile(self.model_path)]\n"
                "    def _postprocess(self, data):\n        return data\n" % body
            )
            self.assertEqual(json.loads(worker.predict(b"{}")[1].decode())["data"]["resp_data"], expected)
            worker.close()

    def test_warns_about_the_misprinted_base_class_and_serves(self):
        worker = self.start(BASE.replace("XgSklServing", "XgSk1Serving"))
        self.assertEqual(worker.predict(b"{}")[0]["t"], "answer")
        self.assertIn("digit one", worker.close()[2])

    def test_waits_for_the_thread_that_loads_the_model(self):
        loader = """
    def __init__(self, model_path):
        self.model = None
        threading.Thread(target=self.load).start()
    def load(self):
        time.sleep(0.3)
        self.model = "loaded"
    def _inference(self, data):
        return [self.model]
"""
        worker = self.start(BASE + loader)
        self.assertEqual(json.loads(worker.predict(b"{}")[1].decode())["data"]["resp_data"], ["loaded"])
        worker.close()
        self.assertEqual(
            self.load_failure(BASE + loader.replace('self.model = "loaded"', 'raise OSError("no file")'))["exception"],
            "OSError: no file",
        )

    def test_does_not_wait_for_pool_threads(self):
        worker = self.start(
            BASE
            + """
    def __init__(self, model_path):
        from concurrent.futures import ThreadPoolExecutor
        self.pool = ThreadPoolExecutor(2)
        self.pool.submit(time.sleep, 0.01).result()
"""
        )
        self.assertEqual(worker.loaded["t"], "ready")
        worker.close()

    def test_keeps_answering_when_user_code_floods_or_closes_its_output_or_low_descriptors(self):
        worker = self.start(
            BASE
            + """
    def _inference(self, data):
        print(data)
        if data == "close": sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2)
        if data == "range": os.closerange(0, 256)
        return [1]
"""
        )
        self.assertEqual(worker.predict(b'"hello"')[0]["t"], "answer")
        self.assertEqual(worker.predict(b'"close"')[0]["t"], "answer")
        header = worker.predict(b'"x"')[0]
        self.assertIn("closed file", header["exception"])
        worker.close()
        worker = self.start(BASE + "    def _inference(self, data):\n        os.closerange(0, 256)\n        return [1]\n")
        for _ in range(3):
            self.assertEqual(worker.predict(b"{}")[0]["t"], "answer")
        worker.close()

    def test_survives_user_code_that_forks_and_returns_twice(self):
        worker = self.start(BASE + "    def _inference(self, data):\n        return [os.fork() >= 0]\n")
        for _ in range(3):
            self.assertEqual(worker.predict(b"{}")[0]["t"], "answer")
        worker.close()

    def test_writes_the_python_stack_when_it_crashes(self):
        worker = self.start(BASE + "    def _inference(self, data):\n        import ctypes\n        ctypes.string_at(0)\n")
        worker.send([(1, b"{}")])
        try:
            self.assertIsNone(worker.channel.read())
        except ConnectionResetError:
            pass
        self.assertEqual(worker.process.wait(60), -signal.SIGSEGV)
        with open(worker.fault) as file:
            self.assertIn("_inference", file.read())
        worker.close()

    def test_sees_only_the_environment_it_was_given_and_its_own_directory(self):
        worker = self.start(
            BASE + "    def _inference(self, data):\n        return [sorted(os.environ), os.getcwd() == os.path.realpath(os.environ['HOME'])]\n"
        )
        names, home = json.loads(worker.predict(b"{}")[1].decode())["data"]["resp_data"]
        self.assertEqual(set(names) - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}, {"HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"})
        self.assertTrue(home)
        worker.close()

    def test_offers_the_log_module_under_its_three_names(self):
        worker = self.start(
            "import log\nimport model_service.log as a\nfrom model_service import log as b\n"
            "for m in (log, a, b):\n    m.getLogger('mine').warning('seen'); m.getLogger('mine').info('hidden')\n" + BASE
        )
        _, _, err = worker.close()
        self.assertEqual(err.count("WARNING mine: seen"), 3, err)
        self.assertNotIn("hidden", err)

    def test_tells_the_step_a_failure_came_from_and_how_long_each_took(self):
        worker = self.start(BASE.replace("return [len(json.dumps(data))]", "time.sleep(0.02)\n        raise ValueError('x')"))
        header = worker.predict(b"{}")[0]
        self.assertEqual(header["t"], "failed")
        self.assertEqual(len(header["stepsUs"]), 3)
        self.assertGreaterEqual(header["stepsUs"][2], 20000)
        # The next prediction fails one step earlier: nothing is left of the one before.
        self.assertEqual(len(worker.predict(b"no JSON")[0]["stepsUs"]), 2)
        worker.close()

    def test_tells_no_steps_when_user_code_replaces_inference(self):
        worker = self.start(BASE + "    def inference(self, data):\n        return [1]\n")
        self.assertEqual(worker.predict(b"{}")[0], {"t": "answer", "id": 1})
        worker.close()

    def test_puts_back_names_the_standard_library_gave_up(self):
        worker = self.start("from collections import Mapping, Iterable\nimport time\ntime.clock()\n" + BASE)
        self.assertEqual(worker.loaded["t"], "ready")
        worker.close()

    @unittest.skipUnless(sys.platform.startswith("linux"), "needs /proc")
    def test_ends_when_the_connection_closes(self):
        worker = self.start()
        began = time.time()
        self.assertEqual(worker.close()[0], 0)
        self.assertLess(time.time() - began, 30)
        self.assertFalse(os.path.exists("/proc/%d" % worker.process.pid))


if __name__ == "__main__":
    unittest.main()
