"""Bodies that are sent compressed, either way."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from serve.problems import ApiError

LEAST_BYTES = 1024
"""Shorter answers are sent as they are."""
_LEVEL = (
    1  # a review's answer gets half as long; higher levels take three times as long for a tenth
)


def unpacked(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Return what a client packed.

    Parameters
    ----------
    body : bytes
    encoding : bytes
        The header ``content-encoding``: ``gzip``, ``deflate``, ``zstd`` or ``identity``.
    limit : int
        Bytes at most, unpacked: a small body may hide a large one.

    Raises
    ------
    ApiError
        ``unsupported_media_type`` for another encoding, ``bad_request`` for damaged data,
        ``body_too_large`` past the limit.
    """
    name = encoding.strip().lower().decode("latin-1")
    if name in ("", "identity"):
        return body
    make = _UNPACKERS.get(name)
    if make is None:
        raise ApiError(
            "unsupported_media_type",
            f"the content encoding {name[:40]!r} is not one of {', '.join(_UNPACKERS)}",
            headers=((b"accept-encoding", ", ".join(_UNPACKERS).encode()),),
        )
    try:
        found = make(body, limit + 1)
    except (zlib.error, EOFError, OSError, ValueError) as error:
        raise ApiError("bad_request", f"the body is not {name}: cut off or damaged") from error
    if len(found) > limit:
        raise ApiError("body_too_large", f"the body is larger than {limit} bytes unpacked")
    return found


def _zlib(body: bytes, limit: int, *, window: int) -> bytes:
    found, rest = b"", body
    # One member after the other, as gzip allows.
    while rest and len(found) < limit:
        unpacker = zlib.decompressobj(window)
        found += unpacker.decompress(rest, limit - len(found))
        if not unpacker.eof and len(found) < limit:
            raise EOFError
        rest = unpacker.unused_data
    return found


def _gzip(body: bytes, limit: int) -> bytes:
    return _zlib(body, limit, window=31)


def _deflate(body: bytes, limit: int) -> bytes:
    try:
        return _zlib(body, limit, window=15)
    except zlib.error:
        return _zlib(body, limit, window=-15)  # without the header that the standard asks for


_UNPACKERS: dict[str, Callable[[bytes, int], bytes]] = {"gzip": _gzip, "deflate": _deflate}
try:
    import zstandard  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # an extra of the client's wish, not of ours
    pass
else:

    def _zstd(body: bytes, limit: int) -> bytes:
        try:
            with zstandard.ZstdDecompressor().stream_reader(
                body, read_across_frames=True
            ) as reader:
                return bytes(reader.read(limit))
        except zstandard.ZstdError as error:
            raise ValueError from error

    _UNPACKERS["zstd"] = _zstd


def wants_gzip(accept: bytes) -> bool:
    """Tell whether a client takes gzip, by its header ``accept-encoding``."""
    for part in accept.lower().split(b","):
        name, _, quality = part.partition(b";")
        if name.strip() in (b"gzip", b"*"):
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def packed(body: bytes) -> bytes:
    """Return a body as gzip; the same bytes for the same body."""
    return gzip.compress(body, _LEVEL, mtime=0)
