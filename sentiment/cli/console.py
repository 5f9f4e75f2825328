"""Where commands print: results on stdout, everything else on stderr.

Rich's markup is off: what a file or a label holds is shown as it is. Styles are given as `Text`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console


def stderr() -> Console:
    """Return a console for progress, logs and warnings; plain text when not a terminal."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=not sys.stderr.isatty())


def stdout() -> Console:
    """Return a console for results that people read; plain text when not a terminal."""
    from rich.console import Console

    return Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


def short_name(key: str, keys: Sequence[str]) -> str:
    """Return the last part of a dotted key, or all of it where that is not enough."""
    leaf = key.rsplit(".", 1)[-1]
    return leaf if sum(other.rsplit(".", 1)[-1] == leaf for other in keys) == 1 else key


def emit_json(document: Any) -> None:
    """Print one JSON document on one line of stdout (one call per row gives JSON Lines).

    Not-a-number values become ``null``: JSON has no word for them.
    """
    from sentiment.records.writer import finite

    sys.stdout.write(json.dumps(finite(document), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()
