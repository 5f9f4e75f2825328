"""Tensors in one file in the safetensors layout: written in order, read as views of its bytes.

The ``safetensors`` package copies every tensor into private memory when it hands out numpy
arrays. Scoring wants the opposite: pages that all worker processes share. The layout is simple
enough to read by hand: eight bytes with the length of a JSON header, the header, the data.
Source: https://huggingface.co/docs/safetensors (format).
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sentiment.errors import ModelError

_DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT = 64
_MAX_HEADER = 1 << 20

Tensors = dict[str, np.ndarray[Any, np.dtype[Any]]]
Reader = Callable[[Path, str], memoryview]


def pack_tensors(tensors: Mapping[str, np.ndarray[Any, np.dtype[Any]]]) -> list[bytes | memoryview]:
    """Lay tensors out as the chunks of a safetensors file.

    The widest dtypes come first, then names in order, so that every tensor is aligned and the
    same tensors always give the same bytes.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Arrays of the dtypes uint64, int64, float64, uint32, int32, float32, uint16, float16, uint8.

    Returns
    -------
    list of bytes or memoryview
        Length of the header, header, then each tensor; nothing of size is copied.
    """
    arrays = {
        name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for name, array in tensors.items()
    }
    header: dict[str, dict[str, Any]] = {}
    chunks: list[bytes | memoryview] = []
    offset = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):
        array = arrays[name]
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        chunks.append(array.reshape(-1).view(np.uint8).data)
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return [len(text).to_bytes(8, "little"), text, *chunks]


def map_file(path: Path, _sha256: str = "") -> memoryview:
    """Map a file: the pages are the file's, and every process that maps it shares them.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is empty.
    """
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def read_tensors(
    path: Path, read: Reader = map_file, sha256: str = ""
) -> tuple[Tensors, memoryview]:
    """Read a safetensors file and return its tensors as read-only views.

    Parameters
    ----------
    path : Path
        The file.
    read : callable
        Gives the file's bytes, of its path and the checksum that they should have.
    sha256 : str
        That checksum; whether the bytes have it is for the caller to see.

    Returns
    -------
    tensors : dict of str to ndarray
        Views of the bytes; nothing is copied.
    data : memoryview
        Every byte of the file, for a checksum.

    Raises
    ------
    ModelError
        The file is missing, cut off, or its header does not describe it exactly.
    """
    try:
        data = read(path, sha256)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise ModelError(f"{path}: cannot be read: {error}") from None
    try:
        return _parse(data), data
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not a whole safetensors file ({text})") from None


def _parse(data: memoryview) -> Tensors:
    if len(data) < 8:
        raise ValueError("shorter than its header")
    length = int.from_bytes(data[:8], "little")
    start = 8 + length
    if length > _MAX_HEADER or start > len(data):
        raise ValueError("shorter than its header")
    header = json.loads(bytes(data[8:start]))
    if not isinstance(header, dict):
        raise TypeError("the header is not an object")
    header.pop("__metadata__", None)
    tensors: Tensors = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype = _DTYPES[entry["dtype"]]
        shape = entry["shape"]
        begin, stop = entry["data_offsets"]
        numbers = [begin, stop, *shape]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"tensor {name!r} has an impossible shape or place")
        if begin != end or stop - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor {name!r} does not fill its place")
        end = stop
        if start + stop > len(data):
            raise ValueError("shorter than its tensors")
        tensors[name] = np.frombuffer(data[start + begin : start + stop], dtype).reshape(shape)
    if start + end != len(data):
        raise ValueError("longer than its tensors")
    return tensors
