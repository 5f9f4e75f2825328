"""One run in MLflow, from RUNNING to its end."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import __version__
from sentiment.errors import SentimentError, UsageError
from sentiment.tracking.address import shown
from sentiment.tracking.client import (
    connect,
    download_run_file,
    experiment_id,
    find,
    reaching,
    search_runs,
)
from sentiment.tracking.tags import FAILURE, VERSION
from sentiment.tracking.unsent import FOLDER, Journal

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

log = logging.getLogger(__name__)

# MLflow cuts longer values or refuses the batch.
_MAX_PARAM = 6000
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
    output_dir : Path, optional
        Where what MLflow does not take waits; without it, that is an error.

    Attributes
    ----------
    unsent : str or None
        Why it waits, once MLflow has not taken something: from there on nothing is sent.
    """

    def __init__(self, client: MlflowClient, run_id: str, output_dir: Path | None = None) -> None:
        self.client = client
        self.run_id = run_id
        self.model_id: str | None = None
        self.unsent: str | None = None
        self._monitor: Any = None
        self._journal = (
            Journal(output_dir / FOLDER / run_id, shown(client.tracking_uri))
            if output_dir is not None
            else None
        )

    @classmethod
    def start(
        cls,
        client: MlflowClient,
        experiment: str,
        *,
        name: str | None,
        tags: Mapping[str, str],
        output_dir: Path | None = None,
    ) -> Run:
        """Create a run in the experiment with this id; inside ``mlflow run``, take that run.

        Parameters
        ----------
        client : MlflowClient
        experiment : str
            Its id.
        name : str or None
        tags : mapping
        output_dir : Path, optional
            Where what MLflow does not take waits.
        """
        given = os.environ.pop("MLFLOW_RUN_ID", None)
        if given:
            if find(client.get_run, given) is None:
                raise UsageError(
                    f"MLFLOW_RUN_ID={given}: there is no such run; unset it, or name one"
                )
            taken = cls(client, given, output_dir)
            if name is not None:
                client.update_run(given, name=name)
            taken.log(tags={VERSION: __version__, **tags})
            return taken
        standard = {
            "mlflow.user": getpass.getuser() if "USER" in os.environ else "unknown",
            "mlflow.source.name": "sentiment",
            "mlflow.source.type": "LOCAL",
            VERSION: __version__,
        }
        run = client.create_run(experiment, run_name=name, tags={**standard, **tags})
        return cls(client, run.info.run_id, output_dir)

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
                self.abandon("KILLED" if killed else "FAILED", reason)
            raise
        self.end("FINISHED")

    def abandon(self, status: str, reason: str) -> None:
        """End the run with its reason; what waits to be logged is given up."""
        try:
            self.client.set_tag(self.run_id, FAILURE, reason)
            self.client.set_terminated(self.run_id, status)
        finally:
            if self._journal is not None:
                self._journal.remove()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Log what the machine does meanwhile, with MLflow's own monitor.

        Raises
        ------
        UsageError
            psutil is not installed.
        """
        self.sample(begin=True)
        try:
            yield
        except BaseException:  # which is what the user must see
            with contextlib.suppress(Exception):
                self.sample(begin=False)
            raise
        self.sample(begin=False)

    def sample(self, *, begin: bool) -> None:
        """Begin or end what `sampling` does."""
        if not begin:
            self._monitor.finish()
            return
        from mlflow import environment_variables
        from mlflow.system_metrics import system_metrics_monitor

        seconds: Any = environment_variables.MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
        make: Any = system_metrics_monitor.SystemMetricsMonitor  # MLflow types neither
        try:
            self._monitor = make(
                self.run_id,
                sampling_interval=seconds.get() or 1,
                tracking_uri=self.client.tracking_uri,
            )
        except Exception as error:
            raise UsageError(
                f"tracking.system_metrics=true: {error} (pip install psutil)"
            ) from error
        self._monitor.start()

    def end(self, status: str) -> None:
        """End the run with one of MLflow's states."""
        self.tell("end", status=status)

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log values in one call: each costs MLflow a dozen statements, however little it brings.

        Parameters
        ----------
        params : mapping, optional
            Values longer than MLflow takes are cut.
        metrics : mapping, optional
            Under names that MLflow accepts, of the run's model too when it is logged.
        tags : mapping, optional
        """
        self.tell(
            "values",
            params={key: str(value)[:_MAX_PARAM] for key, value in (params or {}).items()},
            metrics={key: float(value) for key, value in (metrics or {}).items()},
            tags=dict(tags or {}),
            time=int(time.time() * 1000),
        )

    def log_datasets(self, datasets: Sequence[Mapping[str, Any]]) -> None:
        """Log which data a run used, by fingerprint.

        Parameters
        ----------
        datasets : sequence of mapping
            Of each ``name`` and ``source``: what it is called and where it came from; ``context``:
            ``train``, ``validation`` or ``test``; ``digest``: SHA-256 of the rows, of which MLflow
            keeps 36 characters; ``rows``: their number.
        """
        self.tell("datasets", datasets=[dict(dataset) for dataset in datasets])

    def log_artifacts(self, place: Path) -> None:
        """Log a file, or every file of a folder."""
        self.tell("artifacts", files=place)

    def log_text(self, text: str, name: str) -> None:
        """Log a text as an artifact of this name."""
        self.tell("text", text=text, name=name)

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
        self.tell("scorer", files=scorer, labels=list(labels), example=example)

    def tell(self, kind: str, **values: Any) -> None:
        """Make a call of this kind, or keep it where an earlier one or this one was not taken."""
        if kind == "values" and self.model_id is not None:
            values["model_id"] = self.model_id  # whoever sends it later must know it
        if self.unsent is None:
            try:
                with reaching(self.client.tracking_uri):
                    self.send(kind, values)
            except UsageError:
                raise
            except SentimentError as error:
                if self._journal is None:
                    raise
                self.unsent = str(error)
                log.warning(
                    "%s; what is logged of the run waits in %s: `sentiment runs resend` sends it",
                    error, self._journal.folder,
                )  # fmt: skip
            else:
                return
        assert self._journal is not None
        self._journal.add(kind, values)

    def newest(self, tags: Mapping[str, str]) -> str | None:
        """Return the newest finished run of the same experiment that has these tags.

        Raises
        ------
        SentimentError
            MLflow does not answer.
        """
        with reaching(self.client.tracking_uri):
            experiment = self.client.get_run(self.run_id).info.experiment_id
            asked = "".join(f" and tags.`{name}` = '{value}'" for name, value in tags.items())
            found = search_runs(self.client, experiment, f"status = 'FINISHED'{asked}")
        return found[0].info.run_id if found else None

    def fetch(self, run_id: str, name: str, folder: Path) -> Path | None:
        """Download a top-level artifact of another run; None when it has no such artifact.

        Raises
        ------
        SentimentError
            MLflow does not answer.
        """
        with reaching(self.client.tracking_uri):
            return download_run_file(self.client, run_id, name, folder)

    def send(self, kind: str, values: Mapping[str, Any]) -> None:
        """Tell MLflow what one of the methods above was called with.

        Parameters
        ----------
        kind : str
        values : mapping
        """
        sends: dict[str, Callable[..., None]] = {
            "values": self._send_values,
            "datasets": self._send_datasets,
            # What an earlier version has left to be sent.
            **dict.fromkeys(("params", "metrics", "tags"), self._send_values),
            "dataset": lambda **dataset: self._send_datasets([dataset]),
            "artifacts": self._send_artifacts,
            "text": lambda text, name: self.client.log_text(self.run_id, text, name),
            "scorer": self._send_scorer,
            "end": lambda status: self.client.set_terminated(self.run_id, status),
        }
        sends[kind](**values)

    def _send_values(
        self,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        time: int = 0,
        model_id: str | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        model_id = model_id or self.model_id
        self.client.log_batch(  # which keeps to MLflow's limits itself
            self.run_id,
            metrics=[
                Metric(safe_name(key), value, time, 0, model_id=model_id)
                for key, value in (metrics or {}).items()
            ],
            params=[Param(safe_name(key), value) for key, value in (params or {}).items()],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )

    def _send_datasets(self, datasets: Sequence[Mapping[str, Any]]) -> None:
        from mlflow.exceptions import MlflowException

        inputs = [_dataset_input(**dataset) for dataset in datasets]
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

    def _send_artifacts(self, files: Path) -> None:
        if files.is_dir():
            self.client.log_artifacts(self.run_id, str(files))
        else:
            self.client.log_artifact(self.run_id, str(files))

    def _send_scorer(self, files: Path, labels: Sequence[str], example: str) -> None:
        from sentiment.tracking.packaging import log_model

        self.model_id = log_model(self.client, self.run_id, files, labels, example)


class Experiment:
    """Where new runs go; MLflow is imported and asked when it is opened.

    Parameters
    ----------
    output_dir : Path
    name : str
        See `experiment_id`.
    artifacts : str, optional
        Where those of a new experiment lie.
    """

    def __init__(self, output_dir: Path, name: str, artifacts: str | None = None) -> None:
        self.output_dir = output_dir
        self._name = name
        self._artifacts = artifacts
        self._opened: tuple[MlflowClient, str] | None = None

    def open(self) -> tuple[MlflowClient, str]:
        """Return the client, and the experiment's id: made where it is new.

        Raises
        ------
        SentimentError
            MLflow does not answer, or the experiment cannot be had.
        """
        if self._opened is None:
            client = connect(self.output_dir)
            found = experiment_id(client, self._name, self.output_dir, self._artifacts)
            self._opened = client, found
        return self._opened

    def start(self, *, name: str | None, tags: Mapping[str, str]) -> Run:
        """Start a run, and raise what `open` does."""
        client, experiment = self.open()
        return Run.start(client, experiment, name=name, tags=tags, output_dir=self.output_dir)


def _dataset_input(*, name: str, source: str, context: str, digest: str, rows: int) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"type": "string", "name": name, "required": True} for name in ("text", "label")]
    dataset = Dataset(
        name=name,
        digest=digest[:36],
        source_type="local",
        source=json.dumps({"uri": source}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": rows}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def safe_name(name: str) -> str:
    """Return a name that MLflow takes for a parameter or metric; different names stay different.

    A label may hold anything (``:)``, ``a/b``, 300 characters). What MLflow refuses is replaced,
    and a short hash of the name as it was keeps two of them apart.
    """
    if len(name) <= _MAX_NAME and _SAFE.fullmatch(name):
        return name
    readable = re.sub(r"[^\w. -]+", "_", name)[: _MAX_NAME - 9]
    return f"{readable}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
