"""The loop in one step: what users corrected, a training on it, the gate, the champion."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import config

if TYPE_CHECKING:
    from sentiment.registry.promotion import Promotion

log = logging.getLogger(__name__)

JOB = "sentiment-retrain"
_PUSH_SECONDS = 10.0


class Outcome(StrEnum):
    """How a retraining ended; the label ``outcome`` of its metric."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    FAILED = "failed"
    NOTHING_NEW = "nothing_new"


@dataclass(frozen=True)
class Retrained:
    """What became of a retraining.

    Attributes
    ----------
    outcome : Outcome
    detail : str
        One line: why.
    corrections : int
        Rows of feedback that were trained on.
    run_id, version : str or None
    """

    outcome: Outcome
    detail: str
    corrections: int = 0
    run_id: str | None = None
    version: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain containers."""
        return asdict(self)


def retrain(
    overrides: Sequence[str],
    *,
    output_dir: Path,
    name: str,
    promotion: Promotion,
    watch: Callable[[str, float | None], None] | None = None,
) -> Retrained:
    """Train on the data and what users corrected, register, and promote through the gate.

    It may be run again and again: when neither data, config nor code are new since a run that has
    finished, nothing is done. How it ended is left at the Pushgateway that
    ``SENTIMENT_PUSHGATEWAY_URL`` names.

    Parameters
    ----------
    overrides : sequence of str
        Of the training; the words of ``SENTIMENT_TRAIN_ARGS`` come before them.
    output_dir : Path
        Holds ``feedback.db``, runs and models.
    name : str
        The registered model.
    promotion : Promotion
        The gate.
    watch : callable, optional
        Told of every stage of the training.

    Raises
    ------
    SentimentError
        If the training or the registry fail; the metric says so too.
    """
    try:
        found = _retrain(overrides, output_dir, name, promotion, watch)
    except BaseException:
        push(Outcome.FAILED)
        raise
    push(found.outcome)
    return found


def _retrain(
    overrides: Sequence[str],
    output_dir: Path,
    name: str,
    promotion: Promotion,
    watch: Callable[[str, float | None], None] | None,
) -> Retrained:
    from sentiment.registry.gate import GateRefusedError
    from sentiment.registry.origin import with_origin
    from sentiment.registry.promotion import register
    from sentiment.registry.registry import Registry
    from sentiment.training.run import load, train

    words = [*shlex.split(os.environ.get("SENTIMENT_TRAIN_ARGS", "")), *overrides]
    file = feedback_file(output_dir)
    if file is not None:
        words.append(f"data.also={file}")
    words.append(f"output_dir={output_dir}")
    words = with_origin(words, output_dir)
    cfg = config.compose(words)
    data = load(cfg)
    n_corrections = data.splits.report.get("corrections", 0)
    earlier = _earlier(cfg, data.splits.fingerprint())
    if earlier is not None:
        return Retrained(
            Outcome.NOTHING_NEW,
            f"neither data, config nor code are new since the run {earlier}",
            n_corrections,
            earlier,
        )
    result = train(cfg, overrides=words, data=data, watch=watch)
    try:
        registered = register(
            Registry(output_dir, name), result.run_id, promotion=promotion, why="retraining"
        )
    except GateRefusedError as refused:
        return Retrained(Outcome.REFUSED, str(refused), n_corrections, result.run_id)
    version = registered.version.version
    detail = f"{name} version {version} is the champion"
    return Retrained(Outcome.PROMOTED, detail, n_corrections, result.run_id, version)


def feedback_file(output_dir: Path) -> Path | None:
    """Write the texts that were answered to a file that its content names; None without any."""
    from sentiment.feedback import is_there, labelled_rows, place_of
    from sentiment.files import write_whole

    place = place_of(output_dir)
    if not is_there(place):
        return None
    rows, n_bare = labelled_rows(place)
    if n_bare:
        log.warning("%d answers came without their text and cannot be learned from", n_bare)
    if not rows:
        return None
    lines = [
        json.dumps({"text": row["text"], "label": row["label"]}, ensure_ascii=False) for row in rows
    ]
    content = "\n".join(lines) + "\n"
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    file = output_dir / "data" / f"feedback-{digest}.jsonl"
    if not file.exists():
        write_whole(file, content)
    return file.resolve()


def _earlier(cfg: Any, fingerprint: str) -> str | None:
    """Return a finished run of the same config, data and code."""
    from sentiment.tracking import client as tracking
    from sentiment.tracking.address import is_new, remember
    from sentiment.tracking.origin import code_hash
    from sentiment.tracking.tags import CODE_HASH, CONFIG_HASH, DATA_FINGERPRINT

    output_dir = Path(cfg.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    remember(output_dir, cfg.tracking.uri)
    if is_new(output_dir):
        return None
    client = tracking.connect(output_dir)
    with tracking.reaching(client.tracking_uri):
        experiment = tracking.experiment_id(
            client, cfg.experiment_name, output_dir, cfg.tracking.artifacts
        )
        found = tracking.search_runs(
            client,
            experiment,
            f"status = 'FINISHED' and tags.`{CONFIG_HASH}` = '{config.content_hash(cfg)}'"
            f" and tags.`{CODE_HASH}` = '{code_hash()}'"
            f" and tags.`{DATA_FINGERPRINT}` = '{fingerprint}'",
        )
    return str(found[0].info.run_id) if found else None


def push(outcome: Outcome) -> None:
    """Leave at the Pushgateway how the retraining ended: a job that has ended cannot be scraped."""
    address = os.environ.get("SENTIMENT_PUSHGATEWAY_URL")
    if not address:
        return
    from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway

    registry = CollectorRegistry()
    last = Gauge(
        "sentiment_retrain_last_outcome",
        "How the last retraining ended: 1 for that outcome.",
        ["outcome"],
        registry=registry,
    )
    for known in Outcome:
        last.labels(known).set(known == outcome)
    if outcome in (Outcome.PROMOTED, Outcome.NOTHING_NEW):
        Gauge(
            "sentiment_retrain_last_success_timestamp_seconds",
            "When a retraining last ended well, in Unix time.",
            registry=registry,
        ).set(time.time())
    try:
        pushadd_to_gateway(address, job=JOB, registry=registry, timeout=_PUSH_SECONDS)
    except OSError as error:
        log.warning("SENTIMENT_PUSHGATEWAY_URL=%s does not take the outcome (%s)", address, error)
