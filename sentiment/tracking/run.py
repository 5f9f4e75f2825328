"""One run in MLflow, from RUNNING to its end."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import random
import re
import time
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
_MAX_NAME = 250
_SAFE = re.compile(r"[\w-][\w. -]*(/[\w-][\w. -]*)*")
_TRIES = 5


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
        """Create a run in the experiment with this id; inside ``mlflow run``, take that run.

        Parameters
        ----------
        client : MlflowClient
        experiment : str
            Its id.
        name : str or None
        tags : mapping
        """
        given = os.environ.pop("MLFLOW_RUN_ID", None)
        if given:
            taken = cls(client, given)
            if name is not None:
                client.update_run(given, name=name)
            taken.set_tags({VERSION: __version__, **tags})
            return taken
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

        entries = [Param(safe_name(key), str(value)[:_MAX_PARAM]) for key, value in params.items()]
        for begin in range(0, len(entries), _BATCH):
            self.client.log_batch(self.run_id, params=entries[begin : begin + _BATCH])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics under names that MLflow accepts, of the run's model too when it is logged."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [
            Metric(safe_name(key), float(value), now, 0, model_id=self.model_id)
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
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

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
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])]
        for attempt in range(_TRIES):
            try:
                self.client.log_inputs(self.run_id, datasets=inputs)
            except MlflowException:
                # Two runs that log the same data set for the first time at the same moment: MLflow
                # looks, then inserts. The next look finds it.
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.05 * (attempt + 1) * (1 + random.random()))
            else:
                return

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


def safe_name(name: str) -> str:
    """Return a name that MLflow takes for a parameter or metric; different names stay different.

    A label may hold anything (``:)``, ``a/b``, 300 characters). What MLflow refuses is replaced,
    and a short hash of the name as it was keeps two of them apart.
    """
    if len(name) <= _MAX_NAME and _SAFE.fullmatch(name):
        return name
    readable = re.sub(r"[^\w. -]+", "_", name)[: _MAX_NAME - 9]
    return f"{readable}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
