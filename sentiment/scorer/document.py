"""``scorer.json``: its name, version, canonical form and checks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sentiment.errors import ModelError

FORMAT = "sentiment-scorer"


PIPELINE_FORMAT = "sentiment-pipeline"
"""Of a pipeline that does not compile: programs that know compiled models alone refuse it by name."""


FORMAT_VERSION = 2
"""2: the text's normalization, which programs that read 1 alone would leave out."""


DOCUMENT_NAME = "scorer.json"


WEIGHTS_NAME = "weights.safetensors"


PIPELINE_NAME = "pipeline.skops"


_WEIGHTS = {FORMAT: WEIGHTS_NAME, PIPELINE_FORMAT: PIPELINE_NAME}


def weights_name(document: dict[str, Any]) -> str:
    """Return the name of the file that lies beside ``scorer.json``."""
    return _WEIGHTS[document["format"]]


def check_weights(path: Path, document: dict[str, Any], data: memoryview, *, verify: bool) -> None:
    described = document["weights"]
    same = len(data) == described["size"]
    if same and verify:
        same = hashlib.sha256(data).hexdigest() == described["sha256"]
    if not same:
        raise ModelError(
            f"{path}: {weights_name(document)} is not the one that {DOCUMENT_NAME} describes: "
            "it is cut off or altered; fetch or train it again"
        )


def read_document(path: Path) -> tuple[str, dict[str, Any]]:
    """Read and check ``scorer.json``; return its SHA-256 and its content.

    Raises
    ------
    ModelError
        It is missing, not JSON, of another program or a newer format, or fails its own checksum.
    """
    file = path / DOCUMENT_NAME
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: not a scorer directory: {DOCUMENT_NAME} cannot be read ({error.strerror})"
        ) from None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise ModelError(f"{file}: not JSON: cut off or altered; fetch or train it again") from None
    if not isinstance(document, dict) or document.get("format") not in _WEIGHTS:
        raise ModelError(f"{file}: not a model of this program (no format {FORMAT!r})")
    version = document.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelError(
            f"{file}: format version {version!r}, but this program reads up to {FORMAT_VERSION}: "
            "upgrade sentiment"
        )
    checksum = document.pop("checksum", None)
    try:
        fresh = hashlib.sha256(dump_document(document)).hexdigest()
    except (ValueError, RecursionError):
        fresh = None
    if checksum != fresh:
        raise ModelError(f"{file}: altered: it fails its own checksum; fetch or train it again")
    return hashlib.sha256(raw).hexdigest(), document


def dump_document(document: dict[str, Any]) -> bytes:
    """Return a document's one canonical form: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
