"""What a run leaves: the stored model, and what is logged of it."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from sentiment import config
from sentiment.data import hashes
from sentiment.errors import SentimentError
from sentiment.evaluation.predictions import write_predictions
from sentiment.tracking.run import safe_name
from sentiment.tracking.tags import DIGEST, EXPERIMENT
from sentiment.training.reporting import experiment_of, write_reports
from sentiment.training.start import STATE, write_state

if TYPE_CHECKING:
    from sentiment.compiler.compile import CompiledScorer
    from sentiment.compiler.fallback import KeptPipeline
    from sentiment.data.loading import Data
    from sentiment.data.splits import Splits
    from sentiment.store import StoredModel
    from sentiment.tracking.run import Run
    from sentiment.training.fitting import Fitted
    from sentiment.training.judging import Judged
    from sentiment.training.stages import Stages

log = logging.getLogger(__name__)

DATA_REPORT = "data_report.html"
N_FEATURES = 50  # strongest features logged per class


@dataclass(frozen=True)
class Published:
    """Where the model lies.

    Attributes
    ----------
    folder : Path
    digest : str
    """

    folder: Path
    digest: str


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


def publish(
    cfg: DictConfig,
    run: Run,
    data: Data,
    fitted: Fitted,
    judged: Judged,
    compiled: CompiledScorer | KeptPipeline,
    stages: Stages,
    *,
    overrides: Sequence[str],
    point_latest: bool,
    draw: bool,
) -> Published:
    """Store the model and log the run.

    Parameters
    ----------
    cfg : DictConfig
    run : Run
    data : Data
    fitted : Fitted
    judged : Judged
    compiled : CompiledScorer or KeptPipeline
    stages : Stages
        Told of ``save`` and ``log``.
    overrides : sequence of str
        The words of the command line.
    point_latest : bool
        Whether the pointer ``latest`` moves to the new model.
    draw : bool
        Whether the page is written.
    """
    from sentiment import store

    output_dir, splits = Path(cfg.output_dir), data.splits
    with stages("save"):
        stored = store.save_model(
            compiled, about(cfg, run.run_id, judged.metrics, splits), output_dir
        )
        folder, digest = stored.path.parent, stored.digest
    latest = digest if point_latest else ""
    with (
        _kept(run, output_dir, folder, latest),
        stages("log"),
        TemporaryDirectory(prefix="sentiment-") as scratch,
    ):
        # The model first: metrics logged before it, MLflow would read again one by one.
        _log_model(run, Path(scratch), stored, compiled, splits)
        params = config.flatten(config.to_dict(cfg))
        _write_names([*params, *judged.metrics], Path(scratch))
        experiment = experiment_of(overrides)
        run.log(
            params=params,
            metrics={
                **judged.metrics,
                **{f"data_{key}": value for key, value in splits.report.items()},
            },
            tags={DIGEST: digest} | ({EXPERIMENT: experiment} if experiment else {}),
        )
        _log_data(run, splits)
        _write_artifacts(cfg, Path(scratch), overrides, splits, fitted.classes, judged)
        if data.stream is not None and not data.in_blocks:
            write_state(fitted.vectorizer, fitted.classifier, splits, Path(scratch) / STATE)
        write_reports(
            cfg,
            Path(scratch),
            run,
            splits,
            fitted.classes,
            judged,
            compiled.scorer,
            overrides=overrides,
            whole=draw,
        )
        run.log_artifacts(Path(scratch))
    return Published(folder, digest)


@contextmanager
def _kept(run: Run, output_dir: Path, folder: Path, latest: str) -> Iterator[None]:
    """Let ``latest`` name the model once its run is logged, or once MLflow has failed to take it.

    A server that goes away costs the record of the work and not the work.
    """
    from sentiment import store
    from sentiment.tracking.address import tracking_uri
    from sentiment.tracking.client import reaching

    def point() -> None:
        if latest:
            store.set_pointer(
                output_dir, "latest", latest, run_id=run.run_id, source=f"runs:/{run.run_id}"
            )

    try:
        with reaching(tracking_uri(output_dir)):
            yield
    except SentimentError as error:
        which = ""
        with contextlib.suppress(OSError):  # a full disk may take not even that
            point()
            which = " (latest)" if latest else ""
        raise SentimentError(f"{error}; the trained model is kept{which}: {folder}") from error
    point()


def _write_names(names: Sequence[str], folder: Path) -> None:
    """Write which names stand in MLflow under others, where there are any."""
    changed = {safe: name for name in names if (safe := safe_name(name)) != name}
    if changed:
        _write_json(folder / "metric_names.json", changed)


def _log_data(run: Run, splits: Splits) -> None:
    digests = {
        "train": splits.train_fingerprint or splits.train.fingerprint(),
        "val": splits.val.fingerprint(),
        "test": splits.test.fingerprint(),
    }
    run.log_datasets(
        [
            {
                "name": splits.name,
                "source": splits.source,
                "context": context,
                "digest": digests[part],
                "rows": rows,
            }
            for part, context in (("train", "train"), ("val", "validation"), ("test", "test"))
            if (rows := splits.report[f"rows_{part}"])
        ]
    )


def _write_artifacts(
    cfg: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    splits: Splits,
    classes: Sequence[str],
    judged: Judged,
) -> None:
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    (folder / "overrides.json").write_text(json.dumps(list(overrides)), encoding="utf-8")
    write_predictions(
        folder, splits.test, classes, judged.probabilities["test"], judged.chosen.decision
    )
    hashes.write_hashes(splits.seen(), folder / hashes.FILE_NAME)
    if cfg.data.report:
        from sentiment.data.report import data_report

        (folder / DATA_REPORT).write_text(data_report(splits), encoding="utf-8")
    if judged.chosen.decision:
        chosen = judged.chosen
        _write_json(
            folder / "decision.json",
            {
                "decision": chosen.decision.to_dict(),
                "chosen_on": chosen.rows,
                "curve": chosen.curve,
                "tradeoff": chosen.tradeoff,
            },
        )


def _log_model(
    run: Run,
    folder: Path,
    stored: StoredModel,
    compiled: CompiledScorer | KeptPipeline,
    splits: Splits,
) -> None:
    """Log the scorer, what weighs most in it, and what making it smaller changed."""
    from sentiment.compiler.compile import CompiledScorer

    if isinstance(compiled, CompiledScorer):
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
