"""Runs side by side: what differs, how they score, and whether the difference is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sentiment.errors import Parameter, UsageError, nearest
from sentiment.evaluation import predictions
from sentiment.evaluation.metrics import LOWER_IS_BETTER, PairedTest, paired_test
from sentiment.tracking import client as tracking
from sentiment.tracking.tags import KIND, SWEEP, TEST_FINGERPRINT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIGURES = ("val_", "test_")
# Parameters that say where or how a run is made, not what it computes.
_PLACES = ("output_dir", "run_name", "experiment_name", "tracking.", "sweep.", "cache.")


@dataclass
class Compared:
    """One run of a comparison.

    Attributes
    ----------
    params : dict
        Those that differ between the runs.
    metrics : dict
        Of the validation and the test split.
    test : PairedTest or None
        Against the first run of the comparison, on the same test rows.
    why_no_test : str or None
        The reason when there is no such test.
    """

    run_id: str
    name: str
    started: float
    params: dict[str, str]
    metrics: dict[str, float]
    test: PairedTest | None = None
    why_no_test: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain containers."""
        return asdict(self)


@dataclass
class Comparison:
    """Runs in order; the first is what the others are tested against."""

    runs: list[Compared]
    sort: str
    metrics: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain containers."""
        return asdict(self)


def compare_runs(
    references: Sequence[str],
    *,
    output_dir: Path,
    experiment: str = "sentiment",
    sort: str = "newest",
    limit: int = 10,
) -> Comparison:
    """Compare finished runs.

    Parameters
    ----------
    references : sequence of str
        Run ids, or the beginnings of them; a sweep's run stands for its jobs. None: the newest
        runs of the experiment.
    output_dir : Path
        Where runs lie.
    experiment : str
        The MLflow experiment; runs that are named may be of any.
    sort : str
        ``newest``, or a metric, the best first.
    limit : int
        Runs at most, when none are named.

    Raises
    ------
    UsageError
        If a run or the metric is not known, or there are fewer than two runs.
    """
    client = tracking.connect(output_dir)
    experiment = tracking.experiment_name(client, experiment)
    experiments = {entry.name: entry.experiment_id for entry in client.search_experiments()}
    if not references and experiment not in experiments:
        raise UsageError(f"no experiment {experiment!r}{nearest(experiment, list(experiments))}")
    finished = [
        run
        for number in (experiments.values() if references else [experiments[experiment]])
        for run in tracking.search_runs(client, number, "status = 'FINISHED'")
        if run.data.tags.get(KIND) != "sweep"
    ]
    chosen = _choose(finished, references) if references else finished
    if sort != "newest":
        chosen = _by_metric(chosen, sort)
    if not references:
        chosen = chosen[:limit]
    if len(chosen) < 2:
        where = "these names" if references else repr(experiment)
        raise UsageError(f"nothing to compare: {len(chosen)} finished runs in {where}")
    runs = [
        Compared(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            started=run.info.start_time / 1000,
            params=params,
            metrics={
                key: value
                for key, value in sorted(run.data.metrics.items())
                if key.startswith(_FIGURES)
            },
        )
        for run, params in zip(chosen, _differing(chosen), strict=True)
    ]
    _test(client, chosen, runs)
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    return Comparison(runs, sort, names)


def _choose(finished: Sequence[Any], references: Sequence[str]) -> list[Any]:
    chosen: dict[str, Any] = {}
    for reference in references:
        prefix = reference.removeprefix("runs:/")
        matches = [
            run
            for run in finished
            if run.info.run_id.startswith(prefix)
            or run.data.tags.get(SWEEP, "").startswith(prefix)
            or run.info.run_name == reference
        ]
        if not matches:
            raise UsageError(f"no finished run {reference!r}: give the beginning of a run id")
        chosen |= {run.info.run_id: run for run in matches}
    return list(chosen.values())


def _by_metric(runs: Sequence[Any], metric: str) -> list[Any]:
    known = sorted({key for run in runs for key in run.data.metrics if key.startswith(_FIGURES)})
    if metric not in known:
        raise UsageError(
            Parameter("sort", metric), f": no run has this metric{nearest(metric, known)}"
        )
    having = [run for run in runs if metric in run.data.metrics]
    lower = metric.split("_", 1)[1] in LOWER_IS_BETTER
    return sorted(having, key=lambda run: run.data.metrics[metric], reverse=not lower)


def _differing(runs: Sequence[Any]) -> list[dict[str, str]]:
    keys = sorted({key for run in runs for key in run.data.params})
    differing = [
        key
        for key in keys
        if not key.startswith(_PLACES) and len({run.data.params.get(key) for run in runs}) > 1
    ]
    return [{key: run.data.params.get(key, "-") for key in differing} for run in runs]


def _test(client: Any, chosen: Sequence[Any], runs: Sequence[Compared]) -> None:
    """Test every run against the first where both answered the same test rows."""
    fingerprints = [run.data.tags.get(TEST_FINGERPRINT) for run in chosen]
    if fingerprints[0] is None:
        for run in runs[1:]:
            run.why_no_test = "the first run does not say which test rows it saw"
        return
    first = _correct(client, runs[0].run_id)
    for run, fingerprint in zip(runs[1:], fingerprints[1:], strict=True):
        if fingerprint != fingerprints[0]:
            run.why_no_test = "other test rows"
            continue
        correct = _correct(client, run.run_id)
        if first is None or correct is None:
            run.why_no_test = f"no artifact {predictions.FILE_NAME}"
            continue
        run.test = paired_test(first, correct)


def _correct(client: Any, run_id: str) -> NDArray[np.bool_] | None:
    with TemporaryDirectory(prefix="sentiment-") as folder:
        file = tracking.download_run_file(client, run_id, predictions.FILE_NAME, Path(folder))
        found = None if file is None else predictions.read_predictions(file)
    return None if found is None else found.correct
