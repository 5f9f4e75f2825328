"""One run in MLflow, from RUNNING to its end."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import __version__
from sentiment.tracking.tags import FAILURE, VERSION

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PACKAGE = Path(__file__).resolve().parents[1]

# MLflow cuts longer values or refuses the batch.
_MAX_PARAM, _BATCH = 6000, 100


class Run:
    """One MLflow run, from RUNNING to FINISHED, FAILED or KILLED.

    Parameters
    ----------
    client : MlflowClient
        From `connect`.
    run_id : str
        An existing run; `Run.start` makes a new one.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.model_id: str | None = None

    @classmethod
    def start(
        cls, client: MlflowClient, experiment: str, *, name: str | None, tags: Mapping[str, str]
    ) -> Run:
        """Create a run in the experiment with this id."""
        standard = {
            "mlflow.user": getpass.getuser() if "USER" in os.environ else "unknown",
            "mlflow.source.name": "sentiment",
            "mlflow.source.type": "LOCAL",
            VERSION: __version__,
        }
        run = client.create_run(experiment, run_name=name, tags={**standard, **tags})
        return cls(client, run.info.run_id)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """End the run as its body ends: FINISHED, FAILED with the reason, or KILLED."""
        try:
            yield
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt | SystemExit)
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:5000]
            # What ended the body is what the user must see, whatever MLflow says now.
            with contextlib.suppress(Exception):
                self.client.set_tag(self.run_id, FAILURE, reason)
                self.client.set_terminated(self.run_id, "KILLED" if killed else "FAILED")
            raise
        self.client.set_terminated(self.run_id, "FINISHED")

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; values longer than MLflow takes are cut."""
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:_MAX_PARAM]) for key, value in params.items()]
        for begin in range(0, len(entries), _BATCH):
            self.client.log_batch(self.run_id, params=entries[begin : begin + _BATCH])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics under names that MLflow accepts, of the run's model too when it is logged."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [
            Metric(_metric_name(key), float(value), now, 0, model_id=self.model_id)
            for key, value in metrics.items()
        ]
        for begin in range(0, len(entries), _BATCH):
            self.client.log_batch(self.run_id, metrics=entries[begin : begin + _BATCH])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags on the run."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_dataset(self, *, name: str, source: str, context: str, digest: str, rows: int) -> None:
        """Log which data a run used, by fingerprint.

        Parameters
        ----------
        name, source : str
            What the data is called and where it came from.
        context : str
            ``train``, ``validation`` or ``test``.
        digest : str
            SHA-256 of the rows; MLflow keeps 36 characters.
        rows : int
            Number of rows.
        """
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local",
            source=json.dumps({"uri": source}),
            schema=json.dumps(
                {
                    "mlflow_colspec": [
                        {"type": "string", "name": "text", "required": True},
                        {"type": "string", "name": "label", "required": True},
                    ]
                }
            ),
            profile=json.dumps({"num_rows": rows}),
        )
        self.client.log_inputs(
            self.run_id,
            datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", context)])],
        )

    def log_artifact(self, file: Path, folder: str) -> None:
        """Log one file into a folder of the run's artifacts."""
        self.client.log_artifact(self.run_id, str(file), folder)

    def log_artifacts(self, folder: Path) -> None:
        """Log every file of a folder."""
        self.client.log_artifacts(self.run_id, str(folder))

    def log_text(self, text: str, name: str) -> None:
        """Log a text as an artifact of this name."""
        self.client.log_text(self.run_id, text, name)

    def log_scorer(self, scorer: Path, labels: Sequence[str], example: str) -> None:
        """Log the scorer as an MLflow model that needs numpy alone.

        Parameters
        ----------
        scorer : Path
            The scorer directory.
        labels : sequence of str
            Of the output's probability columns.
        example : str
            A text for the input example.
        """
        from sentiment.tracking.packaging import log_model

        self.model_id = log_model(self.client, self.run_id, scorer, labels, example)


def _metric_name(name: str) -> str:
    """Replace what MLflow refuses in a metric's name (labels may hold anything)."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)[:250]
