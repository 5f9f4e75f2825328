"""uvicorn's HTTP protocol, with time-outs for clients that send or read too slowly.

uvicorn itself waits for ever for the rest of a request's head, for its body, and for a client
to read its answer. Here each connection notes since when it has been waiting and for what, and
the server looks at all of them a few times a second: no timer per request.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serve.problems import ApiError
from serve.process.cycle import Cycle
from serve.process.listening import welcome

if TYPE_CHECKING:
    from serve.state import State

# What needs no parser to be told apart from its query.
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9/._~-]*")


class HttpProtocol(HttpToolsProtocol):
    """One client connection.

    Attributes
    ----------
    head_since, body_since : float or None
        ``time.monotonic()`` when waiting for the rest of a head or a body began.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.state: State = app_state["state"]
        self.head_since: float | None = None
        self.body_since: float | None = None
        self._declined_left = 0
        self._unread = 0
        self._unread_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self.head_since = time.monotonic()
        state = self.state
        if state.draining:
            welcome(transport.get_extra_info("socket"))
        if len(self.connections) > state.settings.max_connections:
            state.metrics.rejected.labels("connections").inc()
            self._refuse(ApiError("overloaded", "too many connections"))

    def data_received(self, data: bytes) -> None:
        """Read what has come; a request begins with its first byte."""
        if self.transport.is_closing():
            return
        if self.head_since is None and self.body_since is None:
            self.head_since = time.monotonic()
        if self._declined_left:
            data = self._read_declined(data)
            if not data:
                return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        except httptools.HttpParserUpgrade as offer:
            self.parser = httptools.HttpRequestParser(self)
            if rest := data[offer.args[0] :]:
                self.data_received(rest)

    def _read_declined(self, data: bytes) -> bytes:
        """Read the body of a request that offered another protocol; return what follows it.

        ``curl --http2`` and Java's client offer h2c with every request. We go on in HTTP/1.1, as
        RFC 9110 (7.8) wants, but the parser takes what follows the head for the new protocol.
        """
        body, rest = data[: self._declined_left], data[self._declined_left :]
        self._declined_left -= len(body)
        self.on_body(body)
        if not self._declined_left:
            self.on_message_complete()
        return rest

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        if self.head_since is None:  # a request that came in one piece with the one before
            self.head_since = time.monotonic()

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        self.head_since = None
        self.body_since = time.monotonic()
        self.scope["sentiment.read_at"] = time.perf_counter()  # type: ignore[typeddict-unknown-key]
        if self.parser.should_upgrade():
            lengths = [value for name, value in self.headers if name == b"content-length"]
            self._declined_left = int(lengths[0]) if lengths else 0
        self._read_line()
        before = self.cycle
        self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # one after the other
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _read_line(self) -> None:
        """Note what the request's first line asks for."""
        scope = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = self.parser.get_http_version()
        path, query = self.url, b""
        if not _PLAIN_PATH.fullmatch(path):
            url = httptools.parse_url(path)
            path, query = url.path, url.query or b""
        scope["path"] = unquote(path.decode("ascii"))
        scope["raw_path"] = path
        scope["query_string"] = query

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        if self._declined_left:
            return  # only for the parser
        self.body_since = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the shape of every other error."""
        if not self.transport.is_closing():
            self.state.metrics.failed("bad_request")
            self.head_since = self.body_since = None
            self._refuse(ApiError("bad_request", "this is not an HTTP request"))

    def check(self, now: float) -> None:
        """Drop this connection when its client has kept us waiting too long.

        Parameters
        ----------
        now : float
            ``time.monotonic()``.
        """
        settings = self.state.settings
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread:
            self._unread, self._unread_since = unread, now
        waits = (
            (self.head_since, settings.header_timeout),
            (self.body_since, settings.body_timeout),
            (self._unread_since if unread else None, settings.body_timeout),
        )
        if any(since is not None and now - since > limit for since, limit in waits):
            self._drop()

    def finish(self, now: float, head_seconds: float) -> None:
        """Close this connection unless it is in the middle of something: the server is going."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self.head_since is None or now - self.head_since > head_seconds:
            self.transport.close()

    def _drop(self) -> None:
        self.state.metrics.rejected.labels("slow_client").inc()
        self.transport.abort()

    def _refuse(self, problem: ApiError) -> None:
        body = problem.body("")
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (problem.status, len(body), body)
        )
        self.transport.close()
