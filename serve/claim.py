"""A prediction's id: a signed note of what was said, so that nothing need be stored."""

from __future__ import annotations

import base64
import binascii
import hmac
import itertools
import logging
import os
import struct
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from sentiment.files import locked
from serve.settings import LEAST_KEY

logger = logging.getLogger("sentiment.serve")

VERSION = 1
# Version, digest (the first half), confidence, time (ms), fingerprint of the text, nonce.
_CLAIM = struct.Struct(">B16sfQQQ")
_MAC_BYTES = 16
_FOR_URLS = bytes.maketrans(b"+/", b"-_")


class Claim(NamedTuple):
    """What a prediction's id says.

    Attributes
    ----------
    digest : str
        The first half of the model's digest, hexadecimal.
    label : str
    confidence : float
    time : float
        Unix time.
    fingerprint : int
        Of the text.
    """

    digest: str
    label: str
    confidence: float
    time: float
    fingerprint: int


class Signer:
    """Makes and reads prediction ids.

    Parameters
    ----------
    *keys : bytes
        The first signs, and what any of them signed is read; the same for every replica.
    """

    def __init__(self, *keys: bytes) -> None:
        self._macs = [hmac.new(key, digestmod="sha256") for key in keys]
        # No two processes and no two predictions share a number.
        self._numbers = itertools.count(int.from_bytes(os.urandom(8)) & ~0xFFFFFFFF)
        self._digests: dict[str, bytes] = {}

    def sign(self, digest: str, label: str, confidence: float, text: str) -> str:
        """Return the id of a prediction."""
        half = self._digests.get(digest)
        if half is None:
            half = self._digests[digest] = bytes.fromhex(digest)[:16]
        claim = _CLAIM.pack(
            VERSION,
            half,
            confidence,
            time.time_ns() // 1_000_000,
            fingerprint(text),
            next(self._numbers) & 0xFFFFFFFFFFFFFFFF,
        )
        claim += label.encode()
        mac = self._macs[0].copy()
        mac.update(claim)
        signed = claim + mac.digest()[:_MAC_BYTES]
        return _encode(signed).decode("ascii")

    def read(self, prediction_id: str) -> Claim | None:
        """Return what an id says, or None when it is not one of ours."""
        try:
            padded = prediction_id.encode("ascii") + b"=" * (-len(prediction_id) % 4)
            signed = base64.b64decode(padded, altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return None
        if len(signed) < _CLAIM.size + _MAC_BYTES:
            return None
        # The unused bits of the last character could otherwise make a second id of the same.
        if _encode(signed) != prediction_id.encode("ascii"):
            return None
        claim, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
        matches = []
        for begun in self._macs:
            expected = begun.copy()
            expected.update(claim)
            matches.append(hmac.compare_digest(mac, expected.digest()[:_MAC_BYTES]))
        if not any(matches):
            return None
        version, half, confidence, milliseconds, text, _ = _CLAIM.unpack_from(claim)
        if version != VERSION:
            return None
        label = claim[_CLAIM.size :].decode()
        return Claim(half.hex(), label, confidence, milliseconds / 1000, text)


def kept_key(output_dir: Path) -> str:
    """Return the key of this output directory, drawn at the first start: ids outlive a restart.

    Where the directory cannot be written, the key is as good as this process.

    Parameters
    ----------
    output_dir : Path
        The key lies in its ``feedback.key``, readable by the owner alone.
    """
    path = output_dir / "feedback.key"
    fresh = os.urandom(32).hex()
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with locked(output_dir / "feedback.key.lock"):
            if path.is_file() and len(key := path.read_text("ascii").strip()) >= LEAST_KEY:
                return key
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "w", encoding="ascii") as writer:
                writer.write(fresh + "\n")
    except (OSError, ValueError) as error:
        logger.warning("%s: no key is kept (%s): ids end with this process", path, error)
    return fresh


def _encode(data: bytes) -> bytes:
    """Return base64 for URLs without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_FOR_URLS, b"=")


def fingerprint(text: str) -> int:
    """Return the length and checksum of a text: catches a text cut short or mixed up.

    It guards against mistakes; the label that comes with the text has to be believed anyhow.
    """
    return (len(text) & 0xFFFFFFFF) << 32 | zlib.crc32(text.encode("utf-8", "surrogatepass"))
