"""What a run logs beside its figures."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from sentiment import config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sentiment.compiler.compile import CompiledScorer
    from sentiment.data.splits import Splits
    from sentiment.store import StoredModel
    from sentiment.tracking.run import Run
from sentiment.evaluation.predictions import write_predictions
from sentiment.tracking.tags import DIGEST

log = logging.getLogger(__name__)

N_FEATURES = 50  # strongest features logged per class


def about(
    cfg: DictConfig, run_id: str, metrics: Mapping[str, float], splits: Splits
) -> dict[str, Any]:
    """Return what is stored beside a scorer: who made it, from what, and how good it is."""
    return {
        "run_id": run_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "metrics": dict(metrics),
        "data": {
            "name": splits.name,
            "source": splits.source,
            "fingerprint": splits.fingerprint(),
            "test_fingerprint": splits.test.fingerprint(),
            **splits.report,
        },
        "model": str(cfg.model.get("_target_", "")),
        "vectorizer": str(cfg.vectorizer.get("_target_", "")),
    }


def log_run(
    cfg: DictConfig,
    run: Run,
    folder: Path,
    overrides: Sequence[str],
    splits: Splits,
    metrics: Mapping[str, float],
    probabilities: Mapping[str, NDArray[np.float64]],
    classifier: Any,
    draw: bool,
) -> None:
    """Log parameters, metrics and data sets; write the artifacts about the test split."""
    run.log_params(config.flatten(config.to_dict(cfg)))
    run.log_metrics({**metrics, **{f"data_{key}": value for key, value in splits.report.items()}})
    digests = {
        "train": splits.train_fingerprint or splits.train.fingerprint(),
        "val": splits.val.fingerprint(),
        "test": splits.test.fingerprint(),
    }
    for part, context in (("train", "train"), ("val", "validation"), ("test", "test")):
        if rows := splits.report[f"rows_{part}"]:
            run.log_dataset(
                name=splits.name,
                source=splits.source,
                context=context,
                digest=digests[part],
                rows=rows,
            )
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    (folder / "overrides.json").write_text(json.dumps(list(overrides)), encoding="utf-8")
    labels = [str(label) for label in classifier.classes_]
    write_predictions(folder, splits.test, labels, probabilities["test"])
    if draw:
        from sentiment.evaluation import plots

        plots.save_evaluation(
            folder / plots.EVALUATION,
            splits.test.labels,
            probabilities["test"],
            labels,
            positive_label=splits.positive_label,
        )


def log_model(
    run: Run, folder: Path, stored: StoredModel, compiled: CompiledScorer, splits: Splits
) -> None:
    """Log the scorer, what weighs most in it, and what making it smaller changed."""
    run.set_tags({DIGEST: stored.digest})
    strongest = {
        label: [asdict(feature) for feature in features]
        for label, features in compiled.scorer.top_features(N_FEATURES).items()
    }
    _write_json(folder / "important_features.json", strongest)
    if compiled.report:
        _write_json(folder / "compile_report.json", compiled.report)
        log.warning("compiled smaller: %s", json.dumps(compiled.report))
    run.log_scorer(stored.path, compiled.scorer.labels, splits.test.texts[0][:200])


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
