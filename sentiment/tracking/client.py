"""Runs, models and artifacts in MLflow; the only module that imports it."""

from __future__ import annotations

import errno
import gc
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sentiment import __version__
from sentiment.errors import DISTRIBUTION, ModelError, SentimentError, UsageError
from sentiment.files import no_space
from sentiment.tracking.address import local_database, shown, tracking_uri
from sentiment.tracking.database import prepare
from sentiment.tracking.tags import VERSION

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Found = TypeVar("Found")

DEFAULT_EXPERIMENT = "sentiment"

# Modules that MLflow asks for, and which of our extras brings them.
_EXTRAS = {
    "psycopg": "postgres",
    "psycopg2": "postgres",
    "MySQLdb": "mysql",
    "pymysql": "mysql",
    "boto3": "s3",
}

_PACKAGE = Path(__file__).resolve().parent


def import_mlflow() -> None:
    """Import MLflow with the settings that it reads then, and keep it quiet."""
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
    collecting = gc.isenabled()
    gc.disable()  # imports make no garbage that is worth looking for
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.store.db.utils
    if collecting:
        gc.enable()

    # 15 attempts, each twice as long after the last, are most of an hour.
    mlflow.store.db.utils.MAX_RETRY_COUNT = 3
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):  # one line, ours, says it all
        logging.getLogger(name).setLevel(logging.ERROR)
    # It prints what it raises, statement and all.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def connect(output_dir: Path) -> MlflowClient:
    """Return a client of the tracking server or database, created on first use.

    Raises
    ------
    SentimentError
        If it cannot be reached; the message names its address.
    """
    import_mlflow()
    import mlflow

    where = tracking_uri(output_dir)
    given = os.environ.get("MLFLOW_TRACKING_URI")
    with reaching(where):
        mlflow.set_tracking_uri(where)
        if given is None:
            # MLflow exports it, and the next call would take it for the user's own choice.
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        file = local_database(where)
        if file is not None:
            prepare(file)
        client = mlflow.MlflowClient(where)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def reaching(where: str) -> Iterator[None]:
    """Turn MLflow's many ways to say "not reachable" into one line that names the address."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        fix = f"{DISTRIBUTION}[{extra}]" if extra else error.name
        raise UsageError(
            f"MLflow at {shown(where)} needs the module {error.name!r}: pip install '{fix}'"
        ) from error
    except Exception as error:
        # Imported once something failed: a training that another process logs never needs them.
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if not isinstance(error, MlflowException | SQLAlchemyError | OSError):
            raise
        if (file := local_database(where)) is not None and no_space(error) is not None:
            raise SentimentError(f"{file} cannot be written") from OSError(
                errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)
            )
        if isinstance(error, OSError) and error.filename is not None:
            # A file of ours, not the server: a full disk, a missing permission.
            raise SentimentError(f"{error.filename}: {error.strerror}") from error
        reason = shown(" ".join(str(error).split()))
        if len(reason) > 300:
            reason = reason[:300] + "…"
        if "error code 401" in reason:
            reason = (
                "401, who asks is not known there: set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        raise SentimentError(
            f"MLflow at {shown(where)} does not answer or refuses: {reason}"
        ) from error


def experiment_name(client: MlflowClient, name: str) -> str:
    """Return the experiment that is meant: MLflow's variables stand for the default name.

    Raises
    ------
    UsageError
        ``MLFLOW_EXPERIMENT_ID`` is no experiment, or the name is empty.
    """
    if not name.strip():
        raise UsageError("experiment_name is empty: give a name, or leave it out")
    if name != DEFAULT_EXPERIMENT:
        return name
    given = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if not given:
        return os.environ.get("MLFLOW_EXPERIMENT_NAME") or name
    found = find(client.get_experiment, given)
    if found is None:
        raise UsageError(f"MLFLOW_EXPERIMENT_ID={given}: no such experiment at this server")
    return str(found.name)


def experiment_id(
    client: MlflowClient, name: str, output_dir: Path, artifacts: str | None = None
) -> str:
    """Return the experiment's id, creating it when it is new.

    ``MLFLOW_EXPERIMENT_ID`` and ``MLFLOW_EXPERIMENT_NAME`` stand for the default name. Artifacts of a
    new experiment lie at the address `artifacts`; without one, those of a local database lie under
    ``output_dir/artifacts``, and a server decides itself.

    Raises
    ------
    UsageError
        See `experiment_name`, or the experiment was deleted.
    """
    name = experiment_name(client, name)
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
    here = (output_dir.resolve() / "artifacts").as_uri() if local else None
    location = artifacts or here
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
        client.create_registered_model(name, tags={VERSION: __version__})
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
            reason = shown(" ".join(str(error).split()))[:200]
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
