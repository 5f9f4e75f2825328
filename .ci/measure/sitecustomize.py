"""Coverage of every Python that imports `sentiment` or `serve`: this folder stands in PYTHONPATH.

Before Python 3.14 a tracer slows all code that runs, measured or not: a config is composed in three
times as long. So it starts with the first of the two packages, and rests where others' code runs
that calls none of ours. MEASURE names the file that says what is measured.
"""

from __future__ import annotations

import functools
import os
import sys
from importlib.machinery import SourceFileLoader

TYPE_CHECKING = False  # typing itself would be imported by every Python that starts
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OURS = ("sentiment", "serve")
# Where the tests spend their time in others' Python. A name that is gone there costs time alone.
RESTS = {
    "hydra._internal.config_loader_impl": ("ConfigLoaderImpl", "load_configuration"),
    "mlflow.store.tracking.sqlalchemy_store": ("SqlAlchemyStore", "__init__"),
}
ROOT = __file__.rpartition("/.ci/")[0]
FOLDERS = tuple(f"{ROOT}/{package}/" for package in OURS)


class Start:
    """Starts to measure when one of ours is looked for."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Find nothing."""
        if name not in OURS or Start not in sys.meta_path:
            return
        sys.meta_path.remove(Start)
        try:
            os.getcwd()  # noqa: PTH109 - pathlib is not imported before it is needed
        except FileNotFoundError:  # a test's: coverage cannot be imported there
            return
        import coverage

        # Set for this call alone: coverage would else start with every Python.
        os.environ["COVERAGE_PROCESS_START"] = os.environ["MEASURE"]
        coverage.process_startup()
        del os.environ["COVERAGE_PROCESS_START"]
        # pytest loads its plugins, of which Hydra is one, in a way of its own.
        for module in [sys.modules[name] for name in RESTS if name in sys.modules]:
            let_rest(module)


def resting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, not traced."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        tracer: Any = sys.gettrace()
        if not hasattr(tracer, "stop"):
            return function(*args, **kwargs)
        tracer.stop()
        try:
            return function(*args, **kwargs)
        finally:
            tracer.start()

    return call


def let_rest(module: Any) -> None:
    """Let the tracer rest in what is named of a module."""
    kind, name = RESTS[module.__name__]
    if function := getattr(getattr(module, kind, None), name, None):
        setattr(getattr(module, kind), name, resting(function))


execute = SourceFileLoader.exec_module
execute_resting = resting(execute)


def exec_module(loader: SourceFileLoader, module: Any) -> None:
    """Run a module's body, traced if it is ours."""
    if loader.path.startswith(FOLDERS):
        execute(loader, module)
        return
    execute_resting(loader, module)
    if module.__name__ in RESTS:
        let_rest(module)


if "MEASURE" in os.environ:
    SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign]
    sys.meta_path.insert(0, Start)
