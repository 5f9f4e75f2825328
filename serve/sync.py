"""What the service tells of the process that brings it models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sentiment.store import read_sync

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class ModelSync(Collector):
    """When ``sentiment models pull --watch`` last looked, and when the registry last answered it.

    It runs in a container of its own and answers no scrape: what it writes beside the models is
    told here. Without such a process there are no series.

    Parameters
    ----------
    output_dir : Path
    """

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir

    def collect(self) -> Iterator[Metric]:
        """Yield the two times, as far as they are known."""
        sync = read_sync(self.output_dir)
        if sync is None:
            return
        yield GaugeMetricFamily(
            "sentiment_model_sync_look_timestamp_seconds",
            "When the process that brings models last asked the registry, in Unix time.",
            value=sync.looked_at,
        )
        yield GaugeMetricFamily(
            "sentiment_model_sync_answer_timestamp_seconds",
            "When the registry last answered it, in Unix time; 0: never.",
            value=sync.answered_at,
        )
