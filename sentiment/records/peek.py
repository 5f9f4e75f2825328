"""A stream whose beginning can be looked at, and that gives what is there without waiting for more."""

from __future__ import annotations

import io
from typing import IO, Any

HEAD_BYTES = 1 << 16
"""So much is looked at."""


class Peekable(io.BufferedReader):
    """A stream whose first bytes can be looked at before they are read.

    Parameters
    ----------
    stream : binary file
    only_returns : bool
        Whether its lines end with carriage returns alone: they become line feeds.
    """

    def __init__(self, stream: IO[bytes], *, only_returns: bool = False) -> None:
        super().__init__(_AsItComes(stream, only_returns=only_returns), HEAD_BYTES)

    def head(self) -> bytes:
        return self.peek(HEAD_BYTES)[:HEAD_BYTES]


class _AsItComes(io.RawIOBase):
    """A stream that gives what is there and does not wait for more: lines of a pipe are answered."""

    def __init__(self, stream: IO[bytes], *, only_returns: bool) -> None:
        self._only_returns = only_returns
        self._read: Any = getattr(stream, "read1", stream.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._read(len(buffer))
        if self._only_returns:
            data = data.replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)
