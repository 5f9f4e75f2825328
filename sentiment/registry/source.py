"""Where the scorer of a registered or logged model is to be had, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentiment.tracking.tags import DATA_FINGERPRINT, TEST_FINGERPRINT

SCORER_FOLDER = "artifacts/scorer"  # of a logged model


@dataclass(frozen=True)
class Source:
    """Where a model's scorer and its run's figures are to be had."""

    label: str
    digest: str
    folder: str
    run_id: str | None
    metrics: dict[str, float]
    tags: dict[str, str]
    created: str
    model_id: str | None = None


def info_of(source: Source) -> dict[str, Any]:
    """Return what is stored beside a fetched scorer."""
    return {
        "run_id": source.run_id,
        "created": source.created,
        "metrics": {k: v for k, v in source.metrics.items() if k.startswith(("val_", "test_"))},
        "data": {
            "fingerprint": source.tags.get(DATA_FINGERPRINT),
            "test_fingerprint": source.tags.get(TEST_FINGERPRINT),
        },
    }
