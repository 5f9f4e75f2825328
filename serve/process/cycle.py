"""One answer on its way to the socket: head and body in one write.

uvicorn writes the head when the application begins to answer and the body when it ends: two
system calls, and often two packets, for every answer. Here the head waits for what comes next.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class Cycle(RequestResponseCycle):
    """A request and its answer, as uvicorn has it, but for how it writes.

    Parameters
    ----------
    **options
        uvicorn's own.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._head: list[bytes] = []  # not written yet

    async def send(self, message: ASGISendEvent) -> None:
        """Take one message of the application.

        Raises
        ------
        RuntimeError
            It does not fit the messages before it, or a header is no header.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        wanted = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != wanted or self.response_complete:
            raise RuntimeError(f"{message['type']!r} does not follow what was sent before")
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._go_on(message.get("body", b""), message.get("more_body", False))

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        head = [STATUS_LINE[status]]
        closes = False
        for header in (*self.default_headers, *headers):
            name, value = header
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                closes = True
            head.append(_line(header))
        if not (self.keep_alive or closes):
            head.append(b"connection: close\r\n")
        if (
            self.chunked_encoding is None
            and self.scope["method"] != "HEAD"
            and status not in (204, 304)
        ):
            self.chunked_encoding = True
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        self._head = head
        self.response_started = True
        self.waiting_for_100_continue = False

    def _go_on(self, body: bytes, more: bool) -> None:
        pieces, self._head = self._head, []
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            if body:
                pieces += (b"%x\r\n" % len(body), body, b"\r\n")
            if not more:
                pieces.append(b"0\r\n\r\n")
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the body is longer than its content-length")
            pieces.append(body)
        if not more and self.expected_content_length:
            raise RuntimeError("the body is shorter than its content-length")
        self.transport.write(b"".join(pieces))
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


@lru_cache(256)
def _line(header: tuple[bytes, bytes]) -> bytes:
    """Return a header's line; most answers have the same ones."""
    name, value = header
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError(f"not a header: {name!r}")
    return b"%b: %b\r\n" % (name.lower(), value)
