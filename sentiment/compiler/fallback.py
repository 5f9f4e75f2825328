"""Pipelines that do not compile, in skops format: loaded against our own list of types only.

The types that a file itself names are never trusted; what the list lacks is refused by name.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from sentiment.errors import ModelError

FILE_NAME = "pipeline.skops"
# Beside what skops itself trusts (numpy and scikit-learn's own estimators): these, and the classes
# that these packages define.
_TYPES = frozenset(["scipy.sparse._csr.csr_array", "scipy.sparse._csr.csr_matrix"])
_PACKAGES = ("sentiment.models.", "sentiment.text.", "sentiment.vectorizers.")


def save_pipeline(pipeline: Any, path: Path) -> None:
    """Write a fitted pipeline in skops format.

    Parameters
    ----------
    pipeline : estimator
    path : Path
        The file; its name usually is `FILE_NAME`.
    """
    import skops.io

    beside = path.with_name(path.name + ".partial")
    skops.io.dump(pipeline, beside)
    beside.replace(path)


def load_pipeline(path: Path) -> Any:
    """Read a pipeline that `save_pipeline` wrote.

    Raises
    ------
    ModelError
        It is damaged, or holds a type that is not on the list.
    """
    import skops.io

    # Where version 0.1 kept what is in `sentiment.text` now.
    sys.modules.setdefault("sentiment.ngrams", import_module("sentiment.text.ngrams"))
    try:
        named = set(skops.io.get_untrusted_types(file=path))
        unknown = sorted(name for name in named if not _is_trusted(name))
        pipeline = None if unknown else skops.io.load(path, trusted=sorted(named))
    except Exception as error:  # skops has no error class of its own for damaged files
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not a whole skops file ({text})") from None
    if unknown:
        raise ModelError(f"{path}: holds types that are not trusted: {', '.join(unknown)}")
    return pipeline


def _is_trusted(name: str) -> bool:
    if name in _TYPES:
        return True
    module, _, attribute = name.rpartition(".")
    if not f"{module}.".startswith((*_PACKAGES, "sentiment.ngrams.")):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    # What a module has only imported is not its own.
    return isinstance(found, type) and found.__module__.startswith(_PACKAGES)
