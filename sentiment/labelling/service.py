"""The page while it is served: where it listens, who may ask, and its end."""

from __future__ import annotations

import secrets
import signal
import socket

import uvicorn

from sentiment.errors import Parameter, UsageError
from sentiment.labelling.app import create_app
from sentiment.labelling.desk import Desk

_LOCAL = ("127.0.0.1", "localhost", "::1")
_TOKEN_BYTES = 24


class LabellingService:
    """A desk behind an address; it listens from now on, and answers while `run` runs.

    Parameters
    ----------
    desk : Desk
    host : str
        Any other than this machine's own needs a token, which the address holds.
    port : int
        0 takes a free one.

    Attributes
    ----------
    address : str
        To open in a browser.

    Raises
    ------
    UsageError
        Nobody can listen there.
    """

    def __init__(self, desk: Desk, host: str, port: int) -> None:
        self._desk = desk
        self._local = host in _LOCAL
        self._token = None if self._local else secrets.token_urlsafe(_TOKEN_BYTES)
        try:
            self._listening = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
        except OSError as error:
            why = str(error.strerror).partition(" (while")[0]  # it says the address once more
            raise UsageError(
                Parameter("host", host), " ", Parameter("port", str(port)),
                f": {why}; ", Parameter("port", "0"), " takes a free one",
            ) from error  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        asked = f"?token={self._token}" if self._token else ""
        self.address = f"http://{shown}:{self._listening.getsockname()[1]}/{asked}"

    def run(self) -> None:
        """Answer until SIGTERM, or Ctrl-C, which is raised as ever."""
        hosts = ["127.0.0.1", "localhost", "[::1]", "::1"] if self._local else ["*"]
        app = create_app(self._desk, token=self._token, hosts=hosts)
        # What uvicorn was told to end by it raises again at its end: by default without a last word.
        before = signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
        self._desk.start()
        try:
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[self._listening])
        finally:
            self._desk.stop()
            signal.signal(signal.SIGTERM, before)
