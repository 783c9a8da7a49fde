# coding: utf-8
"""From a package directory to one constructed service object, ready to predict.

customize_service.py is executed as `modelport_package.customize_service`, so its relative imports find the package's
own modules; the package directory is also first on sys.path, so its absolute imports do. Pickles that name
`customize_service` find the same module.
"""
import importlib.util
import inspect
import os
import sys
import threading
import types

from modelport_worker.failures import say

PACKAGE = "modelport_package"
MODULE = "customize_service"
# Threads of pools never end; waiting for them would wait for ever.
_POOL_MODULES = ("concurrent.futures", "multiprocessing", "asyncio", "joblib", "modelport_worker")
_DAEMON_WAIT_S = 10.0


class PackageError(Exception):
    """The package breaks a rule of the runtime; the message is for its author, to whom the worker's frames say nothing."""

    is_for_the_author = True


def import_customize_service(package_dir):
    """Executes customize_service.py and returns its module, or None when the package has none."""
    path = os.path.join(package_dir, MODULE + ".py")
    sys.path[:] = [package_dir] + [p for p in sys.path if p not in ("", os.getcwd(), package_dir)]
    if not os.path.isfile(path):
        return None
    package = types.ModuleType(PACKAGE)
    package.__path__ = [package_dir]
    package.__package__ = PACKAGE
    sys.modules[PACKAGE] = package
    spec = importlib.util.spec_from_file_location(PACKAGE + "." + MODULE, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.modules.setdefault(MODULE, module)
    spec.loader.exec_module(module)
    return module


def find_service_class(module, base):
    """The one class of the module that derives from the engine's base class."""
    found = {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and not value.__module__.startswith("model_service.")
    }
    own = {cls for cls in found if cls.__module__ == module.__name__} or found
    if len(own) == 1:
        return own.pop()
    if not own:
        others = sorted(n for n, v in vars(module).items() if inspect.isclass(v) and v.__module__ == module.__name__)
        raise PackageError(
            "customize_service.py defines no class derived from %s%s"
            % (base.__name__, " (it defines %s)" % ", ".join(others) if others else "")
        )
    raise PackageError(
        "customize_service.py defines %d classes derived from %s (%s); exactly one is the service"
        % (len(own), base.__name__, ", ".join(sorted(cls.__name__ for cls in own)))
    )


def construct(cls, model_name, model_path, arguments=1):
    """Makes the service object and waits for the threads that its constructor started to load the model in.

    `arguments`: how many of (model_name, model_path) a constructor gets whose signature takes either."""
    service = cls.__new__(cls)
    for name, value in (("model_name", model_name), ("model_path", model_path)):
        try:
            setattr(service, name, value)
        except AttributeError:  # __slots__ or a property of the class's own
            pass
    if type(service).__init__ is object.__init__:
        return service
    args = (model_name, model_path) if _takes_two(cls, arguments == 2) else (model_path,)
    with _LoaderThreads() as threads:
        service.__init__(*args)
    threads.wait()
    return service


def _takes_two(cls, usual):
    try:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    except (TypeError, ValueError):
        return False
    if parameters and parameters[0].name == "model_name":
        return True
    required = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if len(required) >= 2:
        return True
    if parameters and parameters[0].name == "model_path":
        return False
    room = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    return usual and (room >= 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters))


class _LoaderThreads(object):
    """Notes the threads started while it is entered, and the errors that end them (threading.excepthook is 3.8+)."""

    def __init__(self):
        self._started = []
        self._errors = []

    def __enter__(self):
        original = self._original = threading.Thread.start
        started, errors = self._started, self._errors

        def start(thread):
            run = thread.run

            def noting():
                try:
                    run()
                except SystemExit:
                    raise
                except BaseException as error:
                    errors.append(error)
                    raise

            thread.run = noting
            started.append(thread)
            original(thread)

        threading.Thread.start = start
        return self

    def __exit__(self, *_):
        threading.Thread.start = self._original

    def wait(self):
        for thread in self._started:
            target = getattr(thread, "_target", None)
            module = str(getattr(target, "__module__", "") or type(thread).__module__)
            if thread is threading.current_thread() or module.startswith(_POOL_MODULES):
                continue
            if thread.daemon:
                thread.join(_DAEMON_WAIT_S)
                if thread.is_alive():
                    say("The daemon thread %s of the constructor runs on; not waiting for it." % thread.name)
                continue
            while thread.is_alive():
                thread.join(30)
                if thread.is_alive():
                    say("Waiting for the thread %s that the constructor started." % thread.name)
        if self._errors:
            raise self._errors[0]
