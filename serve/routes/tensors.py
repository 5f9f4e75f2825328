"""The binary tensor extension of the Open Inference Protocol.

A body is JSON followed by the tensors' bytes; the header ``Inference-Header-Content-Length`` says
where the JSON ends. Strings are four bytes of length (little-endian) and UTF-8 each, numbers are
little-endian.
Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from serve.problems import ApiError
from serve.routes.texts import invalid

HEADER = b"inference-header-content-length"
_LENGTH = struct.Struct("<I")


def split_body(body: bytes, length: bytes | None) -> tuple[bytes, bytes]:
    """Return the JSON and the tensors' bytes.

    Parameters
    ----------
    body : bytes
    length : bytes or None
        What the header says; without it all is JSON.

    Raises
    ------
    ApiError
        ``bad_request`` where the header is no number, or larger than the body.
    """
    if length is None:
        return body, b""
    try:
        end = int(length)
    except ValueError:
        end = -1
    if not 0 <= end <= len(body):
        raise ApiError(
            "bad_request", "Inference-Header-Content-Length does not fit the body's length"
        )
    return body[:end], body[end:]


def read_strings(data: bytes, where: str) -> list[str]:
    """Return the strings of a tensor of BYTES.

    Raises
    ------
    ApiError
        ``invalid_input`` where it is cut off or not UTF-8.
    """
    texts: list[str] = []
    place = 0
    while place < len(data):
        end = place + _LENGTH.size
        if end > len(data):
            raise invalid(where, "is cut off")
        (length,) = _LENGTH.unpack_from(data, place)
        if end + length > len(data):
            raise invalid(where, "is cut off")
        try:
            texts.append(data[end : end + length].decode())
        except UnicodeDecodeError:
            raise invalid(f"{where}.{len(texts)}", "is not UTF-8") from None
        place = end + length
    return texts


def write_strings(texts: Iterable[str]) -> bytes:
    """Return a tensor of BYTES."""
    pieces: list[bytes] = []
    for text in texts:
        encoded = text.encode()
        pieces += [_LENGTH.pack(len(encoded)), encoded]
    return b"".join(pieces)


def write_numbers(values: Sequence[float]) -> bytes:
    """Return a tensor of FP64."""
    return struct.pack(f"<{len(values)}d", *values)
