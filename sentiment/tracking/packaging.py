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

if TYPE_CHECKING:
    from mlflow.models import Model

_PACKAGE = Path(__file__).resolve().parents[1]
# What scores: whole packages, so that a new module of theirs travels too.
TRAVELS = ("__init__.py", "errors.py", "text", "scorer")


def log_model(
    run_id: str, experiment: str, scorer: Path, labels: Sequence[str], example: str
) -> str:
    """Log a scorer directory as a model of a run; who loads it needs mlflow, numpy and pandas.

    Parameters
    ----------
    run_id, experiment : str
        The run, and the id of its experiment.
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
    import mlflow
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
    mlflow.set_experiment(experiment_id=experiment)
    with warnings.catch_warnings(), scoring_code() as code:
        warnings.simplefilter("ignore")
        info = Model.log(
            artifact_path=None,
            name="model",
            flavor=_Flavor,
            run_id=run_id,
            signature=ModelSignature(
                inputs=Schema([ColSpec(DataType.string, "text")]), outputs=Schema(outputs)
            ),
            input_example=pd.DataFrame({"text": [example]}),
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"scorer": str(scorer)},
            code_paths=[str(code)],
            # Given, because MLflow would import everything in a subprocess to guess them.
            pip_requirements=[
                f"{name}=={importlib.metadata.version(name)}"
                for name in ("mlflow", "numpy", "pandas")
            ],
        )
    return str(info.model_id)


@contextmanager
def scoring_code() -> Iterator[Path]:
    """Give a copy of the package cut down to what scoring needs, for MLflow to take along."""
    with TemporaryDirectory(prefix="sentiment-code-") as folder:
        package = Path(folder) / "sentiment"
        package.mkdir()
        for name in TRAVELS:
            source = _PACKAGE / name
            if source.is_dir():
                shutil.copytree(
                    source, package / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copyfile(source, package / name)
        yield package


class _Flavor:
    """MLflow's ``pyfunc`` flavor, with paths inside the model where it writes absolute ones."""

    __name__ = "mlflow.pyfunc"

    @staticmethod
    def save_model(path: str, mlflow_model: Model, **options: Any) -> None:
        """Save as ``mlflow.pyfunc.save_model`` does, then make ``MLmodel`` speak of the model alone."""
        import mlflow.pyfunc
        from mlflow.models.model import MLMODEL_FILE_NAME

        mlflow.pyfunc.save_model(path=path, mlflow_model=mlflow_model, **options)
        flavor = mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME]
        # The loader takes the file's name and the artifact's relative path alone.
        flavor["model_code_path"] = Path(flavor["model_code_path"]).name
        for artifact in flavor["artifacts"].values():
            artifact["uri"] = artifact["path"]
        mlflow_model.save(str(Path(path) / MLMODEL_FILE_NAME))
