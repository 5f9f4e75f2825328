"""A sweep's run in MLflow, what earlier runs already have, and the answer at the end."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sentiment import config
from sentiment.errors import UsageError
from sentiment.sweep.board import Board, Entry
from sentiment.sweep.search import Space
from sentiment.sweep.status import Status
from sentiment.tracking.tags import (
    BEST_OVERRIDES,
    BEST_RUN,
    CODE_HASH,
    COMMAND,
    CONFIG_HASH,
    DATA_FINGERPRINT,
    DIGEST,
    FOLDER,
    JOBS,
    KIND,
    PROCESS,
    SPACE,
    STATE,
    SWEEP,
)

log = logging.getLogger(__name__)

# Words that drive a sweep or say where it is logged: another spelling of them is the same search.
_DRIVING = ("sweep.", "tracking.", "cache.", "output_dir=", "search=", "run_name=")


class Outcome:
    """Keeps a sweep's record.

    Parameters
    ----------
    board : Board
        The jobs.
    space : Space
        What is searched.
    settings : DictConfig
        The node ``sweep``.
    default : DictConfig
        A job's config: where runs go.
    folder : Path
        Of the sweep.
    compose : callable
        Composes a job's config from words.
    config_folders : sequence of str
        Where the user's own config files lie (``--config-dir``).
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
        self.output_dir = Path(default.output_dir)
        self.resumed = False

    def planned(self) -> dict[str, Any]:
        """Return the summary of a dry run."""
        return {
            **self._about("planned"),
            "space": self.space.words(),
            "fixed": list(self.space.fixed),
            "jobs": [entry.to_dict() for entry in self.board.entries],
        }

    def open(self) -> None:
        """Prepare database and experiment once for all jobs, and start or reopen the sweep's run.

        Raises
        ------
        UsageError
            If the sweep to resume is still running in another process.
        """
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin
        from sentiment.tracking.run import Run

        self.client = tracking.connect(self.output_dir, self.default.tracking.uri)
        self.experiment = tracking.experiment_id(
            self.client, self.default.experiment_name, self.output_dir
        )
        self.git = origin.git_state()
        tags = {
            KIND: "sweep",
            SPACE: self._space_hash(),
            COMMAND: shlex.join(
                ["sentiment", "sweep", *(word for word in sys.argv[1:] if word != "-m")]
            ),
            CODE_HASH: origin.code_hash(),
            PROCESS: origin.process_identity(),
            FOLDER: str(self.folder),
            **self.git,
        }
        earlier = self._earlier() if self.settings.resume else None
        if earlier is None:
            names = " × ".join(key.rsplit(".", 1)[-1] for key in self.space.keys)
            name = self.default.run_name or f"sweep {names}".strip()
            self.run = Run.start(self.client, self.experiment, name=name, tags=tags)
            self.run.log_params(
                {
                    "method": self.settings.method,
                    "objective": self.board.objective,
                    **{
                        key.lstrip("+"): word  # MLflow takes no plus in a name
                        for key, _, word in (w.partition("=") for w in self.space.words())
                    },
                }
            )
            return
        self.resumed = True
        self.run = Run(self.client, earlier.info.run_id)
        self.client.update_run(self.run.run_id, status="RUNNING")
        self.run.set_tags(tags)
        self.end_dead_runs("KILLED", everywhere=True)

    def _space_hash(self) -> str:
        fixed = sorted(word for word in self.space.fixed if not word.startswith(_DRIVING))
        content = [self.settings.method, fixed, self.space.words()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _earlier(self) -> Any:
        """Return the newest run of a sweep over the same space, or None."""
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin

        found = tracking.search_runs(
            self.client, self.experiment, f"tags.`{SPACE}` = '{self._space_hash()}'"
        )
        if not found:
            log.warning("no earlier sweep over this space: nothing to resume but single jobs")
            return None
        newest = found[0]
        process = newest.data.tags.get(PROCESS, "")
        alive = process and not origin.is_gone(process)
        if newest.info.status == "RUNNING" and alive and process != origin.process_identity():
            raise UsageError(
                f"this sweep is still running (process {process.split(':')[-2]}): "
                "wait for it or stop it before --resume"
            )
        return newest

    def done_before(self) -> dict[tuple[str, str], Status]:
        """Return the finished runs of this code by config and data."""
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin

        query = f"tags.`{CODE_HASH}` = '{origin.code_hash()}' and status = 'FINISHED'"
        done: dict[tuple[str, str], Status] = {}
        for run in tracking.search_runs(self.client, self.experiment, query):
            tags = run.data.tags
            key = (tags.get(CONFIG_HASH), tags.get(DATA_FINGERPRINT))
            if None in key or self.board.objective not in run.data.metrics:
                continue
            status = Status(
                state="reused",
                run_id=run.info.run_id,
                objective=run.data.metrics[self.board.objective],
                metrics={k: v for k, v in run.data.metrics.items() if k[:4] in ("val_", "test")},
                digest=tags.get(DIGEST),
                model=self._model_of(tags),
                seconds=run.data.metrics.get("seconds_total"),
            )
            done.setdefault(key, status)  # the newest comes first
        return done

    def _model_of(self, tags: Mapping[str, str]) -> str | None:
        """Return where the model of an earlier job of this sweep is stored."""
        from sentiment import store

        digest = tags.get(DIGEST)
        if not digest or tags.get(SWEEP) != self.run.run_id:
            return None
        place = store.models_dir(self.output_dir) / digest
        return str(place) if place.is_dir() else None

    def end_run(self, run_id: str | None) -> None:
        """End the run of a job that has died, wherever it ran."""
        if run_id is None:
            return
        try:
            if self.client.get_run(run_id).info.status == "RUNNING":
                self.client.set_terminated(run_id, "FAILED")
        except Exception as error:  # what is left of the sweep matters more
            log.warning("run %s of a dead job cannot be ended: %s", run_id, error)

    def end_dead_runs(self, state: str, *, everywhere: bool = False) -> None:
        """End runs whose process is gone: those of this sweep, or all of the experiment."""
        from sentiment.tracking import client as tracking
        from sentiment.tracking import origin

        mine = "" if everywhere else f" and tags.`{SWEEP}` = '{self.run.run_id}'"
        for attempt in range(20):
            alive = 0
            for run in tracking.search_runs(
                self.client, self.experiment, f"status = 'RUNNING'{mine}"
            ):
                process = run.data.tags.get(PROCESS)
                if process is None or process == origin.process_identity():
                    continue
                if origin.is_gone(process):
                    self.client.set_terminated(run.info.run_id, state)
                else:
                    alive += 1
            if everywhere or not alive or attempt == 19:
                return
            time.sleep(0.1)  # processes that were told to end need a moment

    def remove_models(self) -> None:
        """Remove stored models of jobs that are not the best; MLflow keeps their scorer."""
        from sentiment import store

        if self.settings.keep_models == "all":
            return
        best = self.board.best()
        keep = {best.status.digest} if best else set()
        for which in store.POINTERS:
            keep.add((store.read_pointer(self.output_dir, which) or {}).get("digest"))
        for entry in self.board.entries:
            status = entry.status
            if status.model is None or status.digest in keep:
                continue
            place = Path(status.model)
            # A model that another run made first is not this job's to remove.
            if _run_of(place) == status.run_id:
                shutil.rmtree(place, ignore_errors=True)
            status.model = None

    def abandon(self) -> None:
        """Mark the sweep as failed."""
        self.client.set_terminated(self.run.run_id, "FAILED")

    def close(self, state: str) -> dict[str, Any]:
        """End what is still open, rank the results, draw them and log the answer."""
        board = self.board
        board.refresh()
        for entry in board.entries:
            if entry.status.state == "running":
                entry.status.state = "killed"
            elif entry.status.state == "waiting":
                entry.status.state = "not started"
        self.end_dead_runs("KILLED")
        self.remove_models()
        best = board.best()
        summary = {
            **self._about(state),
            "space": self.space.words(),
            "fixed": list(self.space.fixed),
            "sweep_run": self.run.run_id,
            "folder": str(self.folder),
            "resumed": self.resumed,
            "seconds": time.time() - board.begun,
            "counts": dict(board.counts()),
            "time_budget": self.settings.time_budget,
            "best": best.to_dict() if best else None,
            "jobs": [entry.to_dict() for entry in board.entries],
            "warnings": board.warnings(),
            "train": self.train_command(best) if best else None,
            "register": self._register_command(best) if best and best.status.digest else None,
            "predict": self._predict_command(best) if best and best.status.digest else None,
        }
        file = self.folder / "sweep.json"
        file.write_text(json.dumps(summary, indent=1), encoding="utf-8")
        self.client.log_artifact(self.run.run_id, str(file))
        plot = self.folder / "search.png"
        if self._draw(plot):
            self.client.log_artifact(self.run.run_id, str(plot))
        if best is not None and best.status.state == "finished":
            self._draw_evaluation(best)
        tags = {JOBS: str(len(board.entries)), STATE: state}
        if best is not None and best.status.objective is not None:
            tags |= {
                BEST_RUN: str(best.status.run_id),
                BEST_OVERRIDES: " ".join(f"{k}={w}" for k, w in best.assignment),
            }
            self.run.log_metrics({f"best_{board.objective}": best.status.objective})
        self.run.set_tags(tags)
        failed = board.counts()["failed"] and not best
        ended = {"finished": "FAILED" if failed else "FINISHED"}.get(state, "KILLED")
        self.client.set_terminated(self.run.run_id, ended)
        return summary

    def _about(self, state: str) -> dict[str, Any]:
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

    def _draw(self, path: Path) -> bool:
        from sentiment.evaluation import plots

        ranked = self.board.ranked()
        if len(ranked) < 2 or not self.space.keys:
            return False
        rows = [dict(entry.assignment) for entry in ranked]
        plots.save_search(
            path,
            {key: [row[key] for row in rows] for key in self.space.keys},
            [entry.status.objective or 0.0 for entry in ranked],
            self.board.objective,
            maximize=self.board.maximize,
        )
        return True

    def _draw_evaluation(self, entry: Entry) -> None:
        """Give a job's run the figure that a training draws; of a hundred jobs nobody looks at it."""
        from sentiment.evaluation import plots, predictions
        from sentiment.tracking import client as tracking

        run_id = str(entry.status.run_id)
        file = tracking.download_run_file(self.client, run_id, predictions.FILE_NAME, self.folder)
        found = None if file is None else predictions.read_predictions(file)
        if file is None or found is None:
            return
        file.unlink()
        plot = self.folder / plots.EVALUATION
        plots.save_evaluation(
            plot,
            found.labels,
            found.probabilities,
            found.classes,
            positive_label=self.default.data.positive_label if len(found.classes) == 2 else None,
        )
        self.client.log_artifact(run_id, str(plot))


def _run_of(place: Path) -> str | None:
    try:
        content = json.loads((place / "info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(content.get("run_id"))
