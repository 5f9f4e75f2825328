"""uvicorn's HTTP protocol, with limits for what one client may send, hold and keep waiting.

uvicorn itself waits for ever for the rest of a request's head, for its body, and for a client
to read its answer, and takes heads of any size. Here each connection notes since when it has been
waiting and for what, and the server looks at all of them a few times a second: no timer per
request. Bytes are counted as they arrive. Where there are too many connections, the one that
has been without a whole request for longest makes room for the new one.
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

from serve.problems import ApiError, overloaded
from serve.process.cycle import Cycle
from serve.process.listening import welcome

if TYPE_CHECKING:
    from serve.state import State

# What needs no parser to be told apart from its query.
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9/._~-]*")
_HOST = re.compile(rb"[\w.~%!$&'()*+,;=\[\]:-]*")


MAX_HEAD_BYTES = 65_536
MAX_FIELDS = 100
# What surrounds the pieces of a body (sizes, extensions, trailers): so much, and a part of the body.
MAX_FRAMING_BYTES = 65_536
FRAMING_SHARE = 4
# A body of fewer bytes than this is handed over in one piece: one wake-up, however it was sent.
PIECE_BYTES = 65_536
# Bodies on their way may take so many times the largest one.
BUFFERED_BODIES = 16
# So long a body may be slower than the least rate.
GRACE_SECONDS = 5.0


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
        self._declined = b""  # the fields that frame the body of a request that offered more
        self._reading_on = False
        self._unread = 0
        self._unread_since = 0.0
        self._head_bytes = 0  # of names and values
        self._hosts = 0
        self._framing_bytes = 0  # all that is no body, of the request that is read
        self._body_bytes = 0
        self._buffered = 0
        self._problem: ApiError | None = None
        self._refused: ApiError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self.head_since = time.monotonic()
        state = self.state
        if state.draining:
            welcome(transport.get_extra_info("socket"))
        address = self.client[0] if self.client else ""
        guests = state.guests
        guests.enter(self, address)
        settings = state.settings
        if len(self.connections) > settings.max_connections:
            oldest = guests.oldest_idle()
        elif guests.count(address) > settings.max_connections_per_client:
            oldest = guests.oldest_idle(address)
        else:
            return
        state.metrics.rejected.labels("connections").inc()
        if oldest is None or oldest is self:
            self._refuse(ApiError("overloaded", "too many connections"))
        else:
            oldest.transport.close()
            guests.busy(oldest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self.state.guests.leave(self)
        self._forget_body()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come; a request begins with its first byte."""
        if self.transport.is_closing() or self._refused is not None:
            return
        if self.head_since is None and self.body_since is None:
            self.head_since = time.monotonic()
        self._unset_keepalive_if_required()
        self._framing_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            spoken = _HTTP_2 if data.startswith(b"PRI * HTTP/2") else _NOT_HTTP
            self._refuse_request(self._problem or spoken)
        except httptools.HttpParserUpgrade as offer:
            self._decline()
            if rest := data[offer.args[0] :]:
                self._framing_bytes = 0
                self.data_received(rest)
            return
        if self.head_since is not None:
            if self._framing_bytes > MAX_HEAD_BYTES:
                self._refuse_request(_LARGE_HEAD)
        elif self.body_since is not None and self._framing_too_large():
            self._refuse_request(_LARGE_FRAMING)

    def _framing_too_large(self) -> bool:
        return self._framing_bytes > MAX_FRAMING_BYTES + self._body_bytes // FRAMING_SHARE

    def _decline(self) -> None:
        """Go on in HTTP/1.1 with a client that offered another protocol, as RFC 9110 (7.8) wants.

        ``curl --http2`` and Java's client offer h2c with every request. The parser takes what
        follows the head for the new protocol; another one is told how the body is framed.
        """
        self.parser = httptools.HttpRequestParser(self)
        if self._declined:
            self._reading_on = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + self._declined + b"\r\n")
            self._reading_on, self._declined = False, b""

    def on_message_begin(self) -> None:
        """Start a request."""
        if self._reading_on:
            return
        super().on_message_begin()
        self._head_bytes = self._body_bytes = self._hosts = 0
        if self.head_since is None:  # a request that came in one piece with the one before
            self.head_since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        if self._reading_on:
            return
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those that follow a body are read by nobody and go."""
        self._count_head(len(name) + len(value) + 4)
        if self.head_since is None:
            return
        if len(self.headers) >= MAX_FIELDS:
            raise self._over(_LARGE_HEAD)
        if len(name) == 4 and name.lower() == b"host":
            # A second one, or one that is none, counts as too many.
            self._hosts += 1 if _HOST.fullmatch(value.strip()) else 2
        if len(name) == 17 and name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            raise self._over(_CODING)  # the parser reads on where others come before it
        super().on_header(name, value)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise self._over(_LARGE_HEAD)

    def _over(self, problem: ApiError) -> ApiError:
        self._problem = problem  # the parser tells only that something was raised
        return problem

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        if self._reading_on:
            return
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise self._over(_UNVERSED)
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1"):
            raise self._over(_HOSTS)  # RFC 9112 (3.2): who is asked is not to be guessed
        self.head_since = None
        self.body_since = time.monotonic()
        self.scope["sentiment.read_at"] = time.perf_counter()  # type: ignore[typeddict-unknown-key]
        if self.parser.should_upgrade():
            framing = (b"content-length", b"transfer-encoding")
            self._declined = b"".join(
                b"%b: %b\r\n" % field for field in self.headers if field[0] in framing
            )
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

    def on_body(self, body: bytes) -> None:
        """Collect a body; who waits for it is woken for a large piece or the end."""
        size = len(body)
        self._framing_bytes -= size
        self._body_bytes += size
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        state = self.state
        state.buffered += size
        self._buffered += size
        if state.buffered > BUFFERED_BODIES * state.settings.max_body_bytes:
            raise self._over(overloaded())
        if len(cycle.body) > PIECE_BYTES:
            self.flow.pause_reading()
            cycle.message_event.set()
        elif cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False  # it did not wait for our word

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        if self._declined and not self._reading_on:
            return  # the body, of no length perhaps, is still to be read
        self.body_since = None
        self._framing_bytes = 0
        self._forget_body()
        if self.cycle.response_complete:  # refused before its end
            self.state.guests.idle(self)
        else:
            self.state.guests.busy(self)
        super().on_message_complete()

    def _forget_body(self) -> None:
        self.state.buffered -= self._buffered
        self._buffered = 0

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self._refused is not None and not self.pipeline:
            self._refuse(self._refused)
        elif self.body_since is None and not self.transport.is_closing():
            self.state.guests.idle(self)

    def _refuse_request(self, problem: ApiError) -> None:
        """Refuse what is no request that we read, in the shape of every other error.

        Requests that came whole before it are answered first.
        """
        if self.transport.is_closing() or self._refused is not None:
            return
        self.state.metrics.failed(problem.code)
        self._refused = problem
        answering = self.body_since is None and self.cycle is not None
        self.head_since = self.body_since = None
        if answering and not self.cycle.response_complete:
            self.flow.pause_reading()
        else:
            self._refuse(problem)

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
        elif self.body_since is not None and not self.flow.read_paused:
            seconds = now - self.body_since
            if seconds > GRACE_SECONDS and self._body_bytes < settings.min_body_rate * seconds:
                self._drop()

    def forgive(self, seconds: float) -> None:
        """Take off the client's account what it waited for us."""
        if self.head_since is not None:
            self.head_since += seconds
        if self.body_since is not None:
            self.body_since += seconds
        self._unread_since += seconds

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


_HTTP_2 = ApiError("bad_request", "HTTP/2 and gRPC are not spoken here: HTTP/1.1 is")
_NOT_HTTP = ApiError("bad_request", "this is not an HTTP request")
_LARGE_HEAD = ApiError(
    "head_too_large",
    f"the head of a request may have {MAX_HEAD_BYTES} bytes and {MAX_FIELDS} fields",
)
_HOSTS = ApiError("bad_request", "a request has one field Host, which names a host")
_UNVERSED = ApiError("bad_request", "HTTP/1.1 and HTTP/1.0 are spoken here")
_CODING = ApiError("bad_request", "no transfer coding but chunked is known here")
_LARGE_FRAMING = ApiError(
    "bad_request", "the chunks of this body are too small or their extensions too long"
)
