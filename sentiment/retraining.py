"""The loop in one step: what users corrected, a training on it, the gate, the champion."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import config
from sentiment.errors import UsageError

if TYPE_CHECKING:
    from sentiment.registry.registry import Registry

log = logging.getLogger(__name__)

JOB = "sentiment-retrain"
_PUSH_SECONDS = 10.0
_WRITTEN = re.compile(r"feedback-[0-9a-f]{16}\.jsonl")  # by `feedback_file`


class Outcome(StrEnum):
    """How a retraining ended; the label ``outcome`` of its metric."""

    PROMOTED = "promoted"
    UNCHANGED = "unchanged"
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
        Rows of feedback, and of ``data.also``, that were trained on.
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
    gate: str = "default",
    watch: Callable[[str, float | None], None] | None = None,
) -> Retrained:
    """Train on the data and what users corrected, register, and promote through the gate.

    It may be run again and again: when neither data, config nor code are new since a run whose model
    has been champion, nothing is done. A run whose model has not (the gate refused it, the registry
    was away, the process was killed) is gone on with, without another training. How it ended is
    left at the Pushgateway that ``SENTIMENT_PUSHGATEWAY_URL`` names.

    Parameters
    ----------
    overrides : sequence of str
        Of the training, and ``gate.KEY=VALUE`` of the gate; the words of ``SENTIMENT_TRAIN_ARGS``
        come before them.
    output_dir : Path
        Holds ``feedback.db``, runs and models, unless the words say ``output_dir=``.
    name : str
        The registered model.
    gate : str
        A file of ``configs/gate``.
    watch : callable, optional
        Told of every stage of the training.

    Raises
    ------
    SentimentError
        If the training or the registry fail; the metric says so too.
    """
    try:
        found = _retrain(overrides, output_dir, name, gate, watch)
    except BaseException:
        push(Outcome.FAILED)
        raise
    push(found.outcome)
    return found


def _retrain(
    overrides: Sequence[str],
    output_dir: Path,
    name: str,
    gate: str,
    watch: Callable[[str, float | None], None] | None,
) -> Retrained:
    from sentiment.registry.gate import GateRefusedError
    from sentiment.registry.origin import with_origin
    from sentiment.registry.promotion import promotion_by, register
    from sentiment.registry.registry import Registry
    from sentiment.training.run import load, train

    words = [*_words_of_the_environment(), *overrides]
    rules = [word for word in words if word.startswith(("gate=", "gate."))]
    promotion = promotion_by(gate, rules)
    said = [word for word in words if word not in rules]
    places = [word for word in said if word.startswith("output_dir=")]
    if places:
        output_dir = Path(config.compose(places[-1:]).output_dir)
    said = [word for word in said if word not in places]
    words = with_origin([*said, f"output_dir={output_dir}"], output_dir)
    file = feedback_file(output_dir)
    if file is not None:
        words = _with_feedback(words, said, file)
    cfg = config.compose(words)
    data = load(cfg)
    n_corrections = data.splits.report.get("corrections", 0)
    run_id = _earlier(cfg, data.splits.fingerprint())
    if run_id is None:
        run_id = train(cfg, overrides=words, data=data, watch=watch).run_id
        registry = Registry(output_dir, name)
    else:
        registry = Registry(output_dir, name)
        if _has_been_champion(registry, run_id):
            detail = f"neither data, config nor code are new since the run {run_id}"
            return Retrained(Outcome.NOTHING_NEW, detail, n_corrections, run_id)
        log.warning("the run %s has trained this already: it is gone on with", run_id)
    try:
        registered = register(registry, run_id, promotion=promotion, why="retraining")
    except GateRefusedError as refused:
        result = refused.result
        detail = (
            f"run {run_id} is not promoted, gate '{result.gate}': {result.failures} (nothing was "
            "changed; sentiment register can promote it all the same)"
        )
        return Retrained(Outcome.REFUSED, detail, n_corrections, run_id)
    version = registered.version.version
    outcome, detail = Outcome.PROMOTED, f"{name} version {version} is the champion"
    if not registered.moves:
        outcome, detail = Outcome.UNCHANGED, f"{detail} already, and the model is the same"
    return Retrained(outcome, detail, n_corrections, run_id, version)


def _words_of_the_environment() -> list[str]:
    given = os.environ.get("SENTIMENT_TRAIN_ARGS", "")
    try:
        return shlex.split(given)
    except ValueError as error:
        raise UsageError(f"SENTIMENT_TRAIN_ARGS={given}: {error}; close what it opens") from error


def _with_feedback(words: list[str], said: Sequence[str], file: Path) -> list[str]:
    """Add the rows of feedback to those of ``data.also``, in place of an earlier retraining's."""
    from sentiment.records.places import sources

    cfg = config.compose(words)
    if cfg.start_from is not None and cfg.data.streaming:
        # It has learned from what its own words name: only what is said now is new.
        words = [word for word in words if word in said or not word.startswith("data.also")]
        cfg = config.compose(words)
    names = sources(cfg.data.also) if cfg.data.also is not None else []
    kept = [name for name in names if not _WRITTEN.fullmatch(Path(name).name)]
    also = [f"data.also={','.join([*kept, str(file)])}"]
    weights = cfg.data.also_weights
    if weights is not None and len(weights) == len(names):
        weight_of = dict(zip(names, weights, strict=True))
        own = [weight for name, weight in weight_of.items() if name not in kept]
        weights = [*(weight_of[name] for name in kept), *(own[-1:] or [1.0])]
        also.append(f"data.also_weights={json.dumps(weights)}")
    return [*words, *also]


def _has_been_champion(registry: Registry, run_id: str) -> bool:
    """Tell whether a run's model was promoted, whatever became of it then."""
    from sentiment.registry.registry import CHAMPION
    from sentiment.tracking import client as tracking

    with registry.reaching():
        if tracking.find(registry.client.get_registered_model, registry.name) is None:
            return False
        digest = registry.source_of_run(run_id).digest
        return any(
            move.alias == CHAMPION and move.state == "completed" and move.to_digest == digest
            for move in registry.moves()
        )


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
    now = time.time()
    Gauge(
        "sentiment_retrain_last_run_timestamp_seconds",
        "When a retraining last ended, however it did, in Unix time.",
        registry=registry,
    ).set(now)
    if outcome not in (Outcome.REFUSED, Outcome.FAILED):
        Gauge(
            "sentiment_retrain_last_success_timestamp_seconds",
            "When a retraining last ended well, in Unix time.",
            registry=registry,
        ).set(now)
    try:
        pushadd_to_gateway(address, job=JOB, registry=registry, timeout=_PUSH_SECONDS)
    except OSError as error:
        log.warning("SENTIMENT_PUSHGATEWAY_URL=%s does not take the outcome (%s)", address, error)
