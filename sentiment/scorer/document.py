"""``scorer.json``: its name, version, canonical form and checks."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from sentiment.errors import ModelError

FORMAT = "sentiment-scorer"


PIPELINE_FORMAT = "sentiment-pipeline"
"""Of a pipeline that does not compile: programs that know compiled models alone refuse it by name."""


FORMAT_VERSION = 3
"""3: a decision, without which a program would give other labels.
2: the text's normalization, which programs that read 1 alone would leave out.
"""


def format_version(document: dict[str, Any], least: int) -> int:
    """Return the version that a reader must know; as old as possible, so that old readers serve."""
    return FORMAT_VERSION if document.get("decision") else least


DOCUMENT_NAME = "scorer.json"


WEIGHTS_NAME = "weights.safetensors"


PIPELINE_NAME = "pipeline.skops"


# What no model comes near, and what anybody's document may take of time and memory.
MAX_BYTES = 4 << 20
MAX_LABELS = 50_000
MAX_LABEL = 1_000
MAX_GOLDEN = 100
MAX_GOLDEN_TEXT = 100_000
MAX_VIEWS = 16
MAX_ORDER = 64
MAX_PATTERN = 1_000

_SHA256 = re.compile("[0-9a-f]{64}")
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
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(
            f"{path}: not a scorer directory: {DOCUMENT_NAME} cannot be read ({error.strerror})"
        ) from None
    if len(raw) > MAX_BYTES:
        raise ModelError(f"{file}: larger than {MAX_BYTES:,} bytes: not a model of this program")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise ModelError(f"{file}: not JSON: cut off or altered; fetch or train it again") from None
    if not isinstance(document, dict) or str(document.get("format")) not in _WEIGHTS:
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
    if problem := _impossible(document):
        raise ModelError(f"{file}: not a usable scorer ({problem}); train it again")
    return hashlib.sha256(raw).hexdigest(), document


def _impossible(document: dict[str, Any]) -> str:
    """Return what no model's document holds, or an empty string, before anything is built of it."""
    return (
        _impossible_labels(document)
        or _impossible_golden(document.get("golden"))
        or _impossible_weights(document.get("weights"))
        or _impossible_views(document.get("views", []))
    )


def _impossible_labels(document: dict[str, Any]) -> str:
    labels = document.get("labels")
    if not isinstance(labels, list) or not 2 <= len(labels) <= MAX_LABELS:
        return f"labels must be a list of 2 to {MAX_LABELS}"
    if not all(isinstance(label, str) and len(label) <= MAX_LABEL for label in labels):
        return f"a label must be a text of at most {MAX_LABEL} characters"
    if len(set(labels)) < len(labels):
        return "two labels are the same"
    if document.get("positive_label") not in (None, *labels):
        return "positive_label is none of the labels"
    return ""


def _impossible_golden(golden: Any) -> str:
    if not isinstance(golden, list) or len(golden) > MAX_GOLDEN:
        return f"golden must be a list of at most {MAX_GOLDEN}"
    for case in golden:
        text = case.get("text") if isinstance(case, dict) else None
        if not isinstance(text, str) or len(text) > MAX_GOLDEN_TEXT:
            return f"a golden text must be a text of at most {MAX_GOLDEN_TEXT} characters"
    return ""


def _impossible_weights(weights: Any) -> str:
    sha256 = weights.get("sha256") if isinstance(weights, dict) else None
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        return "weights must have a SHA-256"
    return ""


def _impossible_views(views: Any) -> str:
    if not isinstance(views, list) or len(views) > MAX_VIEWS:
        return f"views must be a list of at most {MAX_VIEWS}"
    for view in views:
        if not isinstance(view, dict) or not isinstance(view.get("text"), dict):
            return "a view must say how it reads text"
        pattern = view["text"].get("token_pattern", "")
        if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
            return f"a token pattern must be a text of at most {MAX_PATTERN} characters"
        orders = [*_whole(view.get("orders", [])), *_whole(view["text"].get("ngram_range", []))]
        if not all(1 <= order <= MAX_ORDER for order in orders):
            return f"n-grams must have 1 to {MAX_ORDER} tokens"
    return ""


def _whole(values: Any) -> list[int]:
    """Return a list of whole numbers; an impossible one for what is none."""
    if not isinstance(values, list) or len(values) > MAX_ORDER:
        return [-1]
    return [value if type(value) is int else -1 for value in values]


def dump_document(document: dict[str, Any]) -> bytes:
    """Return a document's one canonical form: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
