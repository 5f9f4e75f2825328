"""What is answered: a reply in one piece, and its way to the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from starlette.types import Message, Send

JSON_HEADER = (b"content-type", b"application/json")
API_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
CLOSE_HEADER = (b"connection", b"close")


class Reply(NamedTuple):
    """An answer in one piece."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = (JSON_HEADER,)


_PLAIN = Reply(b"").headers  # the one header of most answers


class Delivery:
    """An answer while it is sent: adds the headers that every answer has.

    Parameters
    ----------
    send : callable
        ASGI's.
    request_id : str
    draining : callable
        Whether the process is leaving.
    trace : str
        ``traceparent``, given back.

    Attributes
    ----------
    status, size : int
        What was sent.
    started : bool
    """

    __slots__ = ("draining", "request_id", "send", "size", "started", "status", "trace")

    def __init__(
        self, send: Send, request_id: str, draining: Callable[[], bool], trace: str = ""
    ) -> None:
        self.send = send
        self.trace = trace
        self.draining = draining
        self.request_id = request_id
        self.status = 500
        self.size = 0
        self.started = False

    async def reply(self, reply: Reply) -> None:
        """Send an answer in one piece."""
        body = reply.body
        self.status = reply.status
        self.size = len(body)
        self.started = True
        await self.send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [
                    *reply.headers,
                    (b"content-length", b"%d" % len(body)),
                    (b"x-request-id", self.request_id.encode("ascii")),
                    *self.headers(reply.headers),
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": body})

    async def relay(self, message: Message) -> None:
        """Pass on what FastAPI's stack sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started = True
            headers = message["headers"]
            message["headers"] = [
                *headers,
                (b"x-request-id", self.request_id.encode("ascii")),
                *self.headers(headers),
            ]
        else:
            self.size += len(message.get("body", b""))
        await self.send(message)

    def headers(self, given: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that every answer has, but for those that it has already."""
        headers = API_HEADERS
        if given is not _PLAIN:
            names = {name for name, _ in given}
            headers = tuple(header for header in API_HEADERS if header[0] not in names)
        if self.trace:
            headers = (*headers, (b"traceparent", self.trace.encode("ascii")))
        # Clients that keep a connection to a process that is leaving should let go of it.
        return (*headers, CLOSE_HEADER) if self.draining() else headers
