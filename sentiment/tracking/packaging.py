"""A scorer as an MLflow model: what travels with it, and nothing of the machine that made it."""

from __future__ import annotations

import importlib.metadata
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sentiment.scorer.document import PIPELINE_NAME, read_document

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PACKAGE = Path(__file__).resolve().parents[1]
# What scores: whole packages, so that a new module of theirs travels too.
TRAVELS = (
    "__init__.py", "errors.py", "text", "scorer", "records/__init__.py", "records/answers.py",
)  # fmt: skip
# A pipeline that does not compile is made of these.
_PARTS = ("models", "vectorizers")


def log_model(
    client: MlflowClient, run_id: str, scorer: Path, labels: Sequence[str], example: str
) -> str:
    """Log a scorer directory as a model of a run; who loads it needs mlflow, numpy and pandas.

    MLflow's own ``log_model`` belongs to the process's current experiment and run; this asks the
    client alone, and so leaves nothing behind in the process.

    Parameters
    ----------
    client : MlflowClient
    run_id : str
    scorer : Path
        The scorer directory.
    labels : sequence of str
        Of the output's probability columns.
    example : str
        A text for the input example.

    Returns
    -------
    str
        The model's id.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
    status = LoggedModelStatus.FAILED
    try:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        with TemporaryDirectory(prefix="sentiment-model-") as folder:
            place = Path(folder) / "model"
            save_model(
                place, scorer, labels, example,
                run_id=run_id, model_id=model.model_id, model_uuid=model.model_id,
                artifact_path=model.artifact_location,
            )  # fmt: skip
            client.log_model_artifacts(model.model_id, str(place))
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(model.model_id, status)
    return str(model.model_id)


def save_model(
    place: Path, scorer: Path, labels: Sequence[str], example: str, **about: Any
) -> None:
    """Write a scorer in MLflow's model format, with no path of this machine in it.

    Parameters
    ----------
    place : Path
        The new folder.
    scorer : Path
        The scorer directory.
    labels : sequence of str
    example : str
    **about
        What ``MLmodel`` says of where the model comes from: ``run_id``, ``model_id``, ….
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME
    from mlflow.models.signature import ModelSignature
    from mlflow.types import (
        ColSpec,
        DataType,
        ParamSchema,
        ParamSpec,
        Schema,
        TensorSpec,
    )

    # MLflow makes Spark's columns of these alone: it fails at an object that is null in some rows, and writes
    # the word None for a text that is.
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "confidence"),
    ]
    outputs += [ColSpec(DataType.double, f"probability_{label}") for label in labels]
    decision = read_document(scorer)[1].get("decision") or {}
    if decision.get("min_confidence"):
        outputs[0] = ColSpec(DataType.string, "label", required=False)
        outputs.append(ColSpec(DataType.string, "would_be", required=False))
    document = Model(**about)
    compiled = not (scorer / PIPELINE_NAME).exists()
    needed = ["mlflow", "numpy", "pandas"]
    needed += [] if compiled else ["scikit-learn", "scipy", "skops"]
    travels = TRAVELS if compiled else (*TRAVELS, *_PARTS)
    with warnings.catch_warnings(), _no_look_around(), scoring_code(travels) as code:
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            path=str(place),
            mlflow_model=document,
            signature=ModelSignature(
                inputs=Schema([ColSpec(DataType.string, "text")]),
                outputs=Schema(outputs),
                params=ParamSchema([ParamSpec("min_confidence", DataType.double, None)]),
            ),
            input_example=pd.DataFrame({"text": [example]}),
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"scorer": str(scorer)},
            code_paths=[str(code)],
            # Given, because MLflow would import everything in a subprocess to guess them.
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in needed],
        )
    # The loader takes the file's name and the artifact's relative path alone.
    flavor = document.flavors[mlflow.pyfunc.FLAVOR_NAME]
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    document.save(str(place / MLMODEL_FILE_NAME))


@contextmanager
def _no_look_around() -> Iterator[None]:
    """Let MLflow not read which files each installed package has, a second of work.

    It does to warn of requirements that are not met here; ours are what is installed.
    """
    from mlflow.utils import requirements_utils

    names = ("_MODULES_TO_PACKAGES", "_PACKAGES_TO_MODULES")
    before = [getattr(requirements_utils, name, None) for name in names]
    setattr(requirements_utils, names[0], {})
    try:
        yield
    finally:  # other models of this process are looked at as ever
        for name, value in zip(names, before, strict=True):
            setattr(requirements_utils, name, value)


@contextmanager
def scoring_code(travels: Sequence[str] = TRAVELS) -> Iterator[Path]:
    """Give a copy of the package cut down to what scoring needs, for MLflow to take along."""
    with TemporaryDirectory(prefix="sentiment-code-") as folder:
        package = Path(folder) / "sentiment"
        package.mkdir()
        for name in travels:
            source = _PACKAGE / name
            if source.is_dir():
                shutil.copytree(
                    source, package / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                (package / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source, package / name)
        yield package
