"""A sweep's answer: what was found, drawn, and the lines that go on from there."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sentiment import config
from sentiment.sweep.status import SweepState

if TYPE_CHECKING:
    from sentiment.sweep.board import Board, Entry
    from sentiment.sweep.record import SweepRun
    from sentiment.sweep.search import Space


class SweepSummary:
    """What ``sweep.json`` holds.

    Parameters
    ----------
    board : Board
        The jobs.
    space : Space
        What is searched.
    settings : DictConfig
        The node ``sweep``.
    default : DictConfig
        A job's config.
    folder : Path
        Of the sweep.
    compose : callable
        Composes a job's config from words.
    config_folders : sequence of str
        Where the user's own config files lie.
    """

    def __init__(
        self,
        board: Board,
        space: Space,
        settings: DictConfig,
        default: DictConfig,
        folder: Path,
        compose: Callable[[Sequence[str]], DictConfig],
        config_folders: Sequence[str] = (),
    ) -> None:
        self.board = board
        self.space = space
        self.settings = settings
        self.default = default
        self.folder = folder
        self.compose = compose
        self.config_folders = config_folders

    def planned(self) -> dict[str, Any]:
        """Return the summary of a dry run."""
        return {
            **self._about(SweepState.PLANNED),
            "space": self.space.words(),
            "fixed": list(self.space.fixed),
            "jobs": [entry.to_dict() for entry in self.board.entries],
        }

    def document(self, state: SweepState, record: SweepRun) -> dict[str, Any]:
        """Return the summary of a sweep that has ended.

        Parameters
        ----------
        state : SweepState
        record : SweepRun
        """
        board = self.board
        best = board.best()
        usable = best if best and best.status.digest else None
        return {
            **self._about(state),
            "space": self.space.words(),
            "fixed": list(self.space.fixed),
            "sweep_run": record.run_id,
            "folder": str(self.folder),
            "resumed": record.resumed,
            "seconds": time.time() - board.begun,
            "counts": dict(board.counts()),
            "time_budget": self.settings.time_budget,
            "best": best.to_dict() if best else None,
            "ranking": [entry.job for entry in board.ranked()],
            "jobs": [entry.to_dict() for entry in board.entries],
            "warnings": board.warnings(),
            "train": self.train_command(best) if best else None,
            "register": self._register_command(usable) if usable else None,
            "predict": self._predict_command(usable) if usable else None,
        }

    def _about(self, state: SweepState) -> dict[str, Any]:
        return {
            "state": state,
            "method": self.settings.method,
            "objective": self.board.objective,
            "direction": "maximize" if self.board.maximize else "minimize",
        }

    def train_command(self, entry: Entry) -> str:
        """Return the line that trains this job's config alone."""
        words = [word for word in entry.words if not word.startswith("sweep.")]
        lean = [word for word in words if not word.startswith("search=")]
        if lean != words and config.content_hash(self.compose(lean)) == entry.config_hash:
            words = lean
        own = [word for folder in self.config_folders for word in ("--config-dir", folder)]
        return shlex.join(["sentiment", "train", *own, *words])

    def _register_command(self, entry: Entry) -> str:
        words = ["sentiment", "register", "--run", str(entry.status.run_id)]
        return shlex.join([*words, *self._output_dir(entry)])

    def _predict_command(self, entry: Entry) -> str:
        words = ["sentiment", "predict", "--model", f"runs:/{entry.status.run_id}"]
        return shlex.join([*words, *self._output_dir(entry), "text"])

    def _output_dir(self, entry: Entry) -> list[str]:
        if any(word.startswith("output_dir=") for word in entry.words):
            return ["--output-dir", str(self.default.output_dir)]
        return []

    def write_search(self, path: Path) -> bool:
        """Write the page of objective against values; whether there was something to draw."""
        from sentiment.sweep.page import search_page

        ranked = self.board.ranked()
        if len(ranked) < 2 or not self.space.keys:
            return False
        rows = [dict(entry.assignment) for entry in ranked]
        page = search_page(
            {key: [row[key] for row in rows] for key in self.space.keys},
            [entry.status.objective or 0.0 for entry in ranked],
            self.board.objective,
            [str(entry.status.run_id) for entry in ranked],
        )
        path.write_text(page, encoding="utf-8")
        return True

    def write_report(self, entry: Entry, record: SweepRun) -> None:
        """Give a job's run the page that a training writes; of a hundred jobs nobody looks at it."""
        from sentiment.evaluation import predictions
        from sentiment.evaluation.answers import Answers
        from sentiment.evaluation.report import REPORT, Facts, model_report, of_split
        from sentiment.sweep.job import data_of
        from sentiment.tracking import client as tracking
        from sentiment.tracking.tags import TEST_FINGERPRINT

        run_id = str(entry.status.run_id)
        file = tracking.download_run_file(record.client, run_id, predictions.FILE_NAME, self.folder)
        if file is None:
            return
        found = predictions.read_predictions(file)
        file.unlink()
        splits = data_of(self.compose(entry.words), str(self.folder)).splits
        tested = record.client.get_run(run_id).data.tags.get(TEST_FINGERPRINT)
        if found is None or tested != splits.test.fingerprint():
            return  # the file has changed since: its texts are not those of the answers
        metrics = of_split(entry.status.metrics, "test")
        answers = Answers(
            splits.test.texts, found.labels, found.classes, found.probabilities, found.predicted,
            splits.positive_label, splits.test.columns,
        )  # fmt: skip
        about = {"command": self.train_command(entry), "run": run_id}
        if entry.status.digest:
            about["model"] = entry.status.digest
        page = self.folder / REPORT
        title = f"{splits.name}: the best of {len(self.board.entries)} jobs"
        page.write_text(model_report(answers, Facts(title, metrics, about=about)), encoding="utf-8")
        record.client.log_artifact(run_id, str(page))
