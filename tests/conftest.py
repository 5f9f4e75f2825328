"""Shared fixtures: the command line in this process, and a small trained model."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys

import pytest
from support.browser import CHROMIUM
from support.commands import Printed

# A run that was started in the background (nohup, &) ignores SIGINT, and so would every child of it.
with contextlib.suppress(ValueError):  # not the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A hundred processes start here: where Python may not keep its bytecode, each would compile all anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Before anything imports them: no network, and threads that leave the machine responsive.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", MLFLOW_DISABLE_TELEMETRY="true")
gc.disable()  # until all is collected: imports make no garbage that is worth looking for


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their number: packed ones hold the time, and workers must agree."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    """What stands now stays, and garbage is looked for seldom: one second in twenty was that."""
    gc.freeze()
    gc.set_threshold(500_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No test sees the caller's tracking server, models or colours, nor what another put in the path."""
    # MLflow leaves there the code of a model that it loads; children would find it before this tree.
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in list(os.environ):
        if name.startswith(
            ("SENTIMENT_", "MLFLOW_TRACKING", "MLFLOW_REGISTRY", "MLFLOW_RUN", "HYDRA_")
        ):
            monkeypatch.delenv(name)
    # Whoever served in this process has sent our records elsewhere, or wanted fewer of them.
    ours = logging.getLogger("sentiment")
    ours.setLevel(logging.NOTSET)
    monkeypatch.setattr(ours, "propagate", True)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith("sentiment") and isinstance(logger, logging.Logger):
            logger.disabled = False
    logging.getLogger().setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def cli(monkeypatch, capfd):
    """Run ``sentiment WORDS`` in this process, exit code and streams included."""
    from sentiment.cli import main

    def run(*words: object) -> Printed:
        monkeypatch.setattr(sys, "argv", ["sentiment", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        code = stop.value.code
        return Printed(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture(scope="module")
def browser():
    """A real Chromium, for tests that are marked `needs_chromium`."""
    playwright_api = pytest.importorskip("playwright.sync_api")
    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()
