"""The API keys: from the settings, and from a file that may change while it serves."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence
from pathlib import Path

from sentiment.errors import UsageError
from sentiment.files import stamp
from serve.settings import LEAST_KEY

logger = logging.getLogger("sentiment.serve")


class Keys:
    """Who may ask.

    Parameters
    ----------
    given : sequence of str
        Keys that are always good.
    path : Path, optional
        A file with one key a line; empty lines and those that begin with ``#`` are none. `look`
        reads it again when it has changed.

    Raises
    ------
    UsageError
        The file cannot be read, has no key, or one that is too short.
    """

    def __init__(self, given: Sequence[str], path: Path | None = None) -> None:
        self._given = [_digest(key.encode()) for key in given]
        self._digests = self._given
        self._path = path
        self._seen: object = None
        if path is not None:
            self._seen = stamp(path)
            self._digests = [*self._given, *map(_digest, _read(path))]

    def __bool__(self) -> bool:
        """Whether a key is asked for at all."""
        return bool(self._digests)

    def match(self, key: bytes) -> bool:
        """Tell whether a key is one of ours."""
        given = _digest(key)
        # Every key is compared, and in constant time, so that the time tells nothing.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0

    def look(self) -> None:
        """Read the file again if it has changed; while it is no good, the keys of before stay."""
        if self._path is None or (seen := stamp(self._path)) == self._seen:
            return
        self._seen = seen
        try:
            self._digests = [*self._given, *map(_digest, _read(self._path))]
        except UsageError as error:
            logger.error("%s; the keys of before stay", error)  # noqa: TRY400
        else:
            logger.info("%s: %d keys", self._path, len(self._digests) - len(self._given))


def _read(path: Path) -> list[bytes]:
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise UsageError(
            f"SENTIMENT_API_KEYS_FILE: {path} cannot be read ({error.strerror})"
        ) from None
    keys = [line for line in lines if line and not line.startswith(b"#")]
    if not keys:
        raise UsageError(f"SENTIMENT_API_KEYS_FILE: {path} holds no key, one a line")
    if any(len(key) < LEAST_KEY for key in keys):
        raise UsageError(
            f"SENTIMENT_API_KEYS_FILE: {path}: a key has fewer than {LEAST_KEY} characters"
        )
    return keys


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
