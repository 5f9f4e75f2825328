"""One request on its way through the service: who asks, what is asked, and until when."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple

from serve.encoding import unpacked
from serve.problems import ApiError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

# A client's own id is kept when it is short and harmless in logs and headers.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_JSON = re.compile(rb"application/(?:json|[a-z0-9.+-]+\+json)", re.I)
_CHARSET = re.compile(rb'charset\s*=\s*"?([^";\s]*)', re.I)
_UTF8 = (b"utf-8", b"utf8", b"us-ascii", b"ascii", b"")
# Packed bytes; what they hold may be a thousand times as much.
_JOINED_INLINE = 1 << 20  # bytes
_UNPACKED_INLINE = 2_048
_BOM = b"\xef\xbb\xbf"
# W3C Trace Context: version, trace, parent, flags.
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole."""


class Limits(NamedTuple):
    """What a request may take.

    Attributes
    ----------
    max_body_bytes : int
    seconds : float
        Until its answer.
    max_structure_bytes : int
        Of JSON that is no text.
    max_string_bytes : int
        Of one string, as JSON has it.
    pool : Executor
        Where large bodies are unpacked and parsed, one after the other: many at once would leave
        the event loop a small share of its processor.
    """

    max_body_bytes: int
    seconds: float
    max_structure_bytes: int
    max_string_bytes: int
    pool: Executor


class Exchange:
    """A request while it is answered.

    Parameters
    ----------
    scope, receive
        ASGI's.
    limits : Limits

    Attributes
    ----------
    request_id : str
        From ``X-Request-ID`` when that is harmless, else new.
    started, deadline : float
        ``time.perf_counter()`` when the whole request was there, and when to give up.
    model_version : str
        Which model answered, for the log.
    trace : str
        The header ``traceparent``, where it is well formed.
    """

    __slots__ = (
        "_fetched",
        "accept",
        "accept_encoding",
        "authorization",
        "content_encoding",
        "content_length",
        "content_type",
        "deadline",
        "limits",
        "model_version",
        "receive",
        "request_id",
        "scope",
        "started",
        "trace",
    )

    def __init__(  # noqa: C901 - one pass over the fields of every request
        self, scope: Scope, receive: Receive, limits: Limits
    ) -> None:
        self.limits = limits
        self.scope = scope
        self.receive = receive
        # The protocol notes when it had read the head; the wait for our turn is part of the time.
        self.started: float = scope.get("sentiment.read_at") or time.perf_counter()
        self.deadline = self.started + limits.seconds
        self.model_version = ""
        self._fetched: bytes | None = None
        self.content_type = b""
        self.content_length = -1
        self.authorization = b""
        self.accept = b""
        self.accept_encoding = b""
        self.content_encoding = b""
        self.trace = ""
        self.request_id = ""
        for name, value in scope["headers"]:
            if name == b"content-type":
                self.content_type = value
            elif name == b"content-length":
                self.content_length = int(value)
            elif name == b"x-request-id":
                if _REQUEST_ID.fullmatch(value):
                    self.request_id = value.decode("ascii")
            elif name == b"accept-encoding":
                self.accept_encoding = value
            elif name == b"accept":
                self.accept = value
            elif name == b"content-encoding":
                self.content_encoding = value
            elif name == b"traceparent":
                if _TRACEPARENT.fullmatch(value):
                    self.trace = value.decode("ascii")
            elif name == b"x-api-key":
                self.authorization = value
            elif name == b"authorization" and not self.authorization:
                scheme, _, key = value.partition(b" ")
                if scheme.lower() == b"bearer":
                    self.authorization = key.strip()
        if not self.request_id:
            self.request_id = new_id()

    def milliseconds(self) -> float:
        """Return the time since the request was read."""
        return (time.perf_counter() - self.started) * 1000.0

    @property
    def path_params(self) -> Mapping[str, Any]:
        """What the router found in the path."""
        params: Mapping[str, Any] = self.scope.get("path_params", {})
        return params

    async def json_body(self, *, typeless: bool = False) -> bytes:
        """Return the whole body of a JSON request, unpacked, without a byte order mark.

        Parameters
        ----------
        typeless : bool
            Whether a missing content type is taken for JSON.

        Raises
        ------
        ApiError
            415 for another content type or encoding, 413 when too large.
        ClientGoneError
            The connection closed before the end.
        """
        if self.content_type != b"application/json" and (self.content_type or not typeless):
            self._check_content_type()
        return await self.body()

    async def body(self) -> bytes:
        """Return the whole body, unpacked, whatever its type."""
        body = await self.fetch() if self._fetched is None else self._fetched
        if self.content_encoding:
            limit = self.limits.max_body_bytes
            if len(body) <= _UNPACKED_INLINE:
                body = unpacked(body, self.content_encoding, limit)
            else:
                body = await asyncio.get_running_loop().run_in_executor(
                    self.limits.pool, unpacked, body, self.content_encoding, limit
                )
        return body.removeprefix(_BOM)

    async def fetch(self) -> bytes:
        """Wait for the whole body; return it as it was sent.

        Raises
        ------
        ApiError
            413 when it is too large.
        ClientGoneError
            The connection closed before the end.
        """
        limit = self.limits.max_body_bytes
        if self.content_length > limit:
            raise self._too_large()
        message = await self.receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body") or message["type"] != "http.request":
            pieces = [body]
            size = len(body)
            while message["type"] == "http.request" and message.get("more_body"):
                message = await self.receive()
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > limit:
                    raise self._too_large()
            if message["type"] != "http.request":
                raise ClientGoneError
            if size > _JOINED_INLINE:  # megabytes are copied without the interpreter's lock
                body = await asyncio.get_running_loop().run_in_executor(
                    self.limits.pool, b"".join, pieces
                )
            else:
                body = b"".join(pieces)
            # A slow upload is the client's time, not ours; the protocol has its own limit for it.
            self.started = time.perf_counter()
            self.deadline = self.started + self.limits.seconds
        if len(body) > limit:
            raise self._too_large()
        self._fetched = body
        return body

    def _check_content_type(self) -> None:
        kind, _, parameters = self.content_type.partition(b";")
        charset = _CHARSET.search(parameters)
        if not _JSON.fullmatch(kind.strip()) or (
            charset is not None and charset[1].lower() not in _UTF8
        ):
            given = self.content_type.decode("latin-1")[:80] or "no content type"
            raise ApiError(
                "unsupported_media_type",
                f"the body must be sent as application/json, not {given}",
                headers=((b"accept-post", b"application/json"),),
            )

    def _too_large(self) -> ApiError:
        limit = self.limits.max_body_bytes
        return ApiError("body_too_large", f"the body is larger than {limit} bytes")


def new_id() -> str:
    """Return an id that no other request has."""
    return os.urandom(12).hex()
