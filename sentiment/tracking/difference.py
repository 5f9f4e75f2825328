"""The test rows where two runs differ, from what they logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from sentiment import config
from sentiment.data.loading import load
from sentiment.errors import UsageError
from sentiment.evaluation import predictions
from sentiment.evaluation.answers import Answers
from sentiment.evaluation.difference import difference_page
from sentiment.tracking import client as tracking
from sentiment.tracking.compare import Compared

if TYPE_CHECKING:
    from sentiment.data.split import Split


def compared_page(runs: Sequence[Compared], *, output_dir: Path) -> str:
    """Return the page about the first two runs of a comparison.

    Parameters
    ----------
    runs : sequence of Compared
        Two or more; the first is the earlier column.
    output_dir : Path

    Raises
    ------
    UsageError
        They were tested on other rows, or these cannot be had any more.
    DataError
        The data of the first run cannot be read.
    """
    first, second = runs[0], runs[1]
    if second.test is None:
        raise UsageError(
            f"runs {first.run_id[:8]} and {second.run_id[:8]} cannot be compared by rows: "
            f"{second.why_no_test}"
        )
    client = tracking.connect(output_dir)
    with TemporaryDirectory(prefix="sentiment-") as scratch:
        test = _test_rows(client, first.run_id, Path(scratch))
        answers = [_answers(client, run.run_id, test, Path(scratch)) for run in (first, second)]
    names = (f"{first.name} {first.run_id[:8]}", f"{second.name} {second.run_id[:8]}")
    return difference_page(answers[0], answers[1], names)


def _test_rows(client: Any, run_id: str, folder: Path) -> Split:
    file = tracking.download_run_file(client, run_id, "config.yaml", folder)
    if file is None:
        raise UsageError(f"run {run_id[:8]} has no config.yaml to read its test rows by")
    cfg = config.to_dict(OmegaConf.load(file))  # type: ignore[arg-type]
    return load(cfg["data"], cfg["seed"]).splits.test


def _answers(client: Any, run_id: str, test: Split, folder: Path) -> Answers:
    from sentiment.data import hashes

    file = tracking.download_run_file(client, run_id, predictions.FILE_NAME, folder / run_id)
    found = None if file is None else predictions.read_predictions(file)
    if found is None:
        raise UsageError(f"run {run_id[:8]} has no {predictions.FILE_NAME}")
    own = hashes.row_hashes(test.texts)
    if hashes.of_digests(found.text_sha256).tolist() != own.tolist():
        raise UsageError(
            f"the data of run {run_id[:8]} no longer holds the rows that it was tested on"
        )
    return Answers(
        test.texts, found.labels, found.classes, found.probabilities, found.predicted,
        columns=test.columns,
    )  # fmt: skip
