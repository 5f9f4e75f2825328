"""The process that brings models from a registry, kept running beside the service."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from sentiment.parent import bound_environment
from sentiment.store import is_remote, pointer_of
from serve.settings import Settings

logger = logging.getLogger("sentiment.serve")

_MAX_PAUSE = 60.0
_STOP_SECONDS = 5.0


class Pullers:
    """A `Puller` for each model that the settings name in a registry, looked at and ended together.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.each = []
        if settings.shadow is not None and is_remote(settings.shadow):
            words = (settings.shadow, "--as", pointer_of(settings.shadow))
            self.each.append(Puller(_command(settings, *words)))
        if settings.model is not None and is_remote(settings.model):
            self.each.append(Puller(_command(settings, settings.model)))

    def look(self) -> None:
        """Start those that do not run."""
        for puller in self.each:
            puller.look()

    def stop(self) -> None:
        """End them."""
        for puller in self.each:
            puller.stop()


class Puller:
    """Runs ``sentiment models pull REF --watch`` and starts it again when it ends with an error.

    The service never talks to a registry itself: this process moves the local pointer, which
    the workers watch. When it cannot reach the registry they keep serving what they have.

    Parameters
    ----------
    command : sequence of str
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0
        self._pause = 1.0
        self._done = False

    def look(self) -> None:
        """Start the process if it does not run; called again and again by whoever owns this."""
        now = time.monotonic()
        process = self._process
        if process is not None:
            code = process.poll()
            if code is None:
                return
            self._process = None
            if code == 0:
                self._done = True  # a fixed version was fetched: there is nothing to watch
            else:
                logger.warning("model pull ended with %d; again in %.0f s", code, self._pause)
                self._start_at = now + self._pause
                self._pause = min(self._pause * 2, _MAX_PAUSE)
        elif not self._done and now >= self._start_at:
            # Its results are log lines here: nothing but the service's own may go to stdout.
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                env=bound_environment(),
            )
            logger.info("model pull runs as process %d", self._process.pid)

    def stop(self) -> None:
        """End the process."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(settings: Settings, *words: str) -> list[str]:
    """Return the command that keeps a local pointer where the registry's alias points."""
    watch = settings.reload_model or 30.0
    return [
        *(sys.executable, "-m", "sentiment", "models", "pull", *words),
        *("--watch", f"{watch:g}", "--output-dir", str(settings.output_dir)),
    ]
