"""From config to a scikit-learn pipeline: text -> vectorizer -> classifier."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import InvalidParameterError

from sentiment.errors import UsageError
from sentiment.scorer.pipeline import trust


def build_pipeline(cfg: DictConfig) -> Pipeline:
    """Return the unfitted pipeline that ``cfg.vectorizer`` and ``cfg.model`` describe.

    Parameters
    ----------
    cfg : DictConfig
        The root config; both nodes name their class or factory as ``_target_``.

    Raises
    ------
    UsageError
        If a class cannot be imported or built, or parameters are outside what the estimators
        accept; every wrong parameter is named at once.
    """
    pipeline = Pipeline(
        [
            ("vectorizer", _build("vectorizer", cfg.vectorizer)),
            ("classifier", _build("model", cfg.model)),
        ]
    )
    wrong: list[str] = []
    for group, step in (("vectorizer", "vectorizer"), ("model", "classifier")):
        wrong += [f"{group}: {reason}" for reason in _wrong_parameters(pipeline.named_steps[step])]
    if wrong:
        raise UsageError("; ".join(wrong))
    return pipeline


def _build(group: str, node: DictConfig) -> BaseEstimator:
    if "_target_" not in node:
        raise UsageError(f"{group} needs a class: {group}._target_=package.module.Class")
    parameters: Any = OmegaConf.to_container(node, resolve=True)
    trust(parameters.pop("trusted", ()))
    if group == "model" and not _takes(node._target_, "class_weight"):
        parameters.pop("class_weight", None)  # `Weighing` does it by the weights of rows
    try:
        estimator = hydra.utils.instantiate(parameters, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise UsageError(f"{group}: {' '.join(str(cause).split())}") from error
    if not isinstance(estimator, BaseEstimator):
        raise UsageError(f"{group}._target_={node._target_} gives no scikit-learn estimator")
    # YAML and the command line know lists only; scikit-learn's own vectorizers want a tuple.
    if isinstance(getattr(estimator, "ngram_range", None), list):
        estimator.set_params(ngram_range=tuple(estimator.get_params()["ngram_range"]))
    return estimator


def _takes(target: str, parameter: str) -> bool:
    """Tell whether a class or a factory has a parameter; one that cannot be looked at has."""
    try:
        # Hydra would log what it does not find; who builds it says so.
        known = inspect.signature(pydoc.locate(target)).parameters  # type: ignore[arg-type]
    except (ImportError, ValueError, TypeError, AttributeError, pydoc.ErrorDuringImport):
        return True
    return parameter in known or any(one.kind is one.VAR_KEYWORD for one in known.values())


def _wrong_parameters(estimator: BaseEstimator) -> list[str]:
    """Ask the estimator and those inside it what they refuse, before any work is done."""
    parts: Mapping[str, Any] = estimator.get_params(deep=True)
    nested = [value for value in parts.values() if isinstance(value, BaseEstimator)]
    wrong = []
    # FeatureUnion and Pipeline state no constraints of their own; those inside them do.
    checked = [part for part in (estimator, *nested) if hasattr(part, "_parameter_constraints")]
    for part in checked:
        try:
            part._validate_params()
        except (InvalidParameterError, ValueError) as error:
            wrong.append(" ".join(str(error).split()))
    return list(dict.fromkeys(wrong))
