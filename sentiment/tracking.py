"""Runs, models and artifacts in MLflow; the only module that imports it."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import importlib.metadata
import logging
import os
import re
import shutil
import socket
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from sentiment import __version__
from sentiment.errors import ModelError, SentimentError, UsageError
from sentiment.lock import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Found = TypeVar("Found")

# MLflow cuts longer values or refuses the batch.
_MAX_PARAM, _BATCH = 6000, 100
_PACKAGE = Path(__file__).resolve().parent


def tracking_uri(output_dir: Path, uri: str | None = None) -> str:
    """Return where runs are kept: ``MLFLOW_TRACKING_URI``, else ``uri``, else SQLite in ``output_dir``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or uri or f"sqlite:///{_database(output_dir)}"


def _database(output_dir: Path) -> Path:
    return output_dir.resolve() / "mlflow.db"


def is_new(output_dir: Path, uri: str | None = None) -> bool:
    """Tell whether runs would go to a database file that does not exist yet."""
    where = tracking_uri(output_dir, uri)
    return where.startswith("sqlite:///") and not Path(where.removeprefix("sqlite:///")).exists()


def connect(output_dir: Path, uri: str | None = None) -> MlflowClient:
    """Return a client of the tracking server or database, created on first use.

    Raises
    ------
    SentimentError
        If it cannot be reached; the message names its address.
    """
    # MLflow reads these when imported or when a request is made. A server that does not answer
    # is reported within seconds, and a URL printed to stdout would break --json.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Else a server hands out links to its bucket, which a client behind it cannot follow.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.store.db.utils

    # 15 attempts, each twice as long after the last, are most of an hour.
    mlflow.store.db.utils.MAX_RETRY_COUNT = 3
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):  # one line, ours, says it all
        logging.getLogger(name).setLevel(logging.ERROR)
    where = tracking_uri(output_dir, uri)
    alone: AbstractContextManager[None] = nullcontext()
    if where.startswith("sqlite:///"):
        database = Path(where.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        if os.access(database.parent, os.W_OK):
            # Two processes that make its tables at the same time fail.
            alone = locked(database.with_name(f".{database.name}.lock"))
    given = os.environ.get("MLFLOW_TRACKING_URI")
    with reaching(where):
        mlflow.set_tracking_uri(where)
        if given is None:
            # MLflow exports it, and the next call would take it for the user's own choice.
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        with alone:
            client = mlflow.MlflowClient(where)
            client.search_experiments(max_results=1)
    return client


@contextmanager
def reaching(where: str) -> Iterator[None]:
    """Turn MLflow's many ways to say "not reachable" into one line that names the address."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ModuleNotFoundError as error:
        extras = {"psycopg": "postgres", "psycopg2": "postgres", "boto3": "s3"}
        extra = extras.get(error.name or "")
        fix = f"sentiment[{extra}]" if extra else error.name
        raise UsageError(
            f"MLflow at {shown(where)} needs the module {error.name!r}: pip install '{fix}'"
        ) from error
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            # A file of ours, not the server: a full disk, a missing permission.
            raise SentimentError(f"{error.filename}: {error.strerror}") from error
        reason = " ".join(str(error).split())
        if len(reason) > 300:
            reason = reason[:300] + "…"
        raise SentimentError(
            f"MLflow at {shown(where)} does not answer or refuses: {reason}"
        ) from error


def shown(uri: str) -> str:
    """Return an address as it may be printed: without user and password."""
    return re.sub(r"//[^/@]*@", "//***@", uri)


def experiment_id(client: MlflowClient, name: str, output_dir: Path) -> str:
    """Return the experiment's id, creating it when it is new.

    Artifacts of a local database lie under ``output_dir/artifacts``; a server decides itself.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise UsageError(
                f"the MLflow experiment {name!r} is deleted: restore it "
                f"(mlflow experiments restore --experiment-id {found.experiment_id}) "
                "or set experiment_name=…"
            )
        return str(found.experiment_id)
    local = client.tracking_uri.split(":", 1)[0] not in ("http", "https", "databricks")
    location = (output_dir.resolve() / "artifacts").as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException:
        # Another process was faster.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def find(ask: Callable[..., Found], *arguments: Any) -> Found | None:
    """Call MLflow; None when it answers that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask(*arguments)
    except MlflowException as error:
        # A missing alias and a name that cannot exist are "invalid" to MLflow.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"):
            return None
        raise


def ensure_registered_model(client: MlflowClient, name: str) -> None:
    """Create a registered model unless it is there."""
    from mlflow.exceptions import MlflowException

    if find(client.get_registered_model, name) is not None:
        return
    try:
        client.create_registered_model(name, tags={"sentiment.version": __version__})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
            raise


def download(folder_uri: str, names: Sequence[str], destination: Path) -> None:
    """Download the named files of an artifact folder into an existing directory.

    Raises
    ------
    ModelError
        If one of them is not there or cannot be read.
    """
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    for name in names:
        uri = f"{folder_uri.rstrip('/')}/{name}"
        try:
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(destination))
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{shown(uri)} cannot be fetched ({reason})") from error


def download_run_file(client: MlflowClient, run_id: str, name: str, folder: Path) -> Path | None:
    """Download one top-level artifact of a run; None when it has no such artifact."""
    if name not in (file.path for file in client.list_artifacts(run_id)):
        return None
    return Path(client.download_artifacts(run_id, name, str(folder)))


def old_file_store(*folders: Path) -> str | None:
    """Return how to migrate an ``mlruns`` file store of MLflow 2 that lies in one of the folders."""
    for folder in folders:
        store = folder / "mlruns"
        if store.is_dir() and any(store.glob("*/meta.yaml")):
            return (
                f"{store} is a file store of an older MLflow, which is not read; to bring its runs along: "
                f"mlflow migrate-filestore --source {store} --target sqlite:///{folder}/mlflow.db"
            )
    return None


def search_runs(client: MlflowClient, experiment: str, query: str = "") -> list[Any]:
    """Return all runs of an experiment that match MLflow's query, the newest first."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment], query, order_by=["attributes.start_time DESC"], page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


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
            "sentiment.version": __version__,
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
                self.client.set_tag(self.run_id, "sentiment.failure", reason)
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

    def log_scorer(self, scorer: Path, labels: Sequence[str], example: str) -> str:
        """Log the scorer as an MLflow model that needs numpy alone.

        Parameters
        ----------
        scorer : Path
            The scorer directory.
        labels : sequence of str
            Of the output's probability columns.
        example : str
            A text for the input example.

        Returns
        -------
        str
            The model's URI.
        """
        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import Model
        from mlflow.models.signature import ModelSignature
        from mlflow.types import ColSpec, DataType, Schema, TensorSpec

        outputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "confidence"),
        ]
        outputs += [ColSpec(DataType.double, f"probability_{label}") for label in labels]
        # A logged model belongs to MLflow's current experiment, whatever its run's is.
        mlflow.set_experiment(experiment_id=self.client.get_run(self.run_id).info.experiment_id)
        with warnings.catch_warnings(), _scoring_code() as code:
            warnings.simplefilter("ignore")
            info = Model.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.pyfunc,
                run_id=self.run_id,
                signature=ModelSignature(
                    inputs=Schema([ColSpec(DataType.string, "text")]), outputs=Schema(outputs)
                ),
                input_example=pd.DataFrame({"text": [example]}),
                python_model=str(_PACKAGE / "scorer" / "pyfunc.py"),
                artifacts={"scorer": str(scorer)},
                code_paths=[str(code)],
                # Given, because MLflow would import everything in a subprocess to guess them.
                pip_requirements=[
                    f"{name}=={importlib.metadata.version(name)}"
                    for name in ("mlflow", "numpy", "pandas")
                ],
            )
        self.model_id = info.model_id
        return str(info.model_uri)


@contextmanager
def _scoring_code() -> Iterator[Path]:
    """Give a copy of the package cut down to what scoring needs, for MLflow to take along."""
    with TemporaryDirectory(prefix="sentiment-code-") as folder:
        package = Path(folder) / "sentiment"
        (package / "scorer").mkdir(parents=True)
        for name in ("__init__.py", "errors.py", "text.py"):
            shutil.copy(_PACKAGE / name, package / name)
        for source in (_PACKAGE / "scorer").glob("*.py"):
            if source.name not in ("compile.py", "pyfunc.py"):
                shutil.copy(source, package / "scorer" / source.name)
        yield package


def _metric_name(name: str) -> str:
    """Replace what MLflow refuses in a metric's name (labels may hold anything)."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)[:250]


@cache
def code_hash() -> str:
    """Return the SHA-256 of the package's sources: what a run's result depends on besides config and data."""
    digest = hashlib.sha256()
    for source in sorted(_PACKAGE.rglob("*.py")):
        digest.update(str(source.relative_to(_PACKAGE)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def process_identity() -> str:
    """Return host, number and start of this process: what tells a run's process from a later one."""
    return f"{socket.gethostname()}:{os.getpid()}:{_process_start(os.getpid())}"


def is_gone(identity: str) -> bool:
    """Tell whether the process of `process_identity` has ended; one of another host counts as alive."""
    host, pid, start = identity.rsplit(":", 2)
    return host == socket.gethostname() and _process_start(int(pid)) != start


def _process_start(pid: int) -> str:
    """Return when a process started in the kernel's ticks, ``gone``, or ``unknown`` where it runs."""
    try:
        # The name in parentheses may hold anything; state and start are fields after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "gone" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "unknown"


def git_state() -> dict[str, str]:
    """Return commit and dirtiness of the repository that the command stands in, or nothing."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"sentiment.git_commit": commit, "sentiment.git_dirty": str(dirty).lower()}
