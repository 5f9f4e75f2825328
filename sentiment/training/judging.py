"""How good a fitted pipeline is, and its compiled form, held against it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.errors import SentimentError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sentiment.compiler.compile import CompiledScorer
    from sentiment.compiler.fallback import KeptPipeline
    from sentiment.data.splits import Splits
    from sentiment.evaluation.decisions import Chosen, Rule
    from sentiment.training.fitting import Fitted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """What the held-out rows say.

    Attributes
    ----------
    metrics : dict of str to float
        Named ``val_…`` and ``test_…``.
    probabilities : dict of str to float64[rows, classes]
        Of ``val`` where it holds rows, and ``test``.
    chosen : Chosen
        How probabilities become labels, and what was seen while that was chosen.
    """

    metrics: dict[str, float]
    probabilities: dict[str, NDArray[np.float64]]
    chosen: Chosen


Metric = Callable[[Sequence[str], "NDArray[np.float64]", Sequence[str]], float]
"""True labels, probabilities with a column for each class, and the classes, to a figure."""


def own_metrics(nodes: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the functions that the node ``metrics`` names, with the arguments that it gives them.

    Parameters
    ----------
    nodes : mapping of str to mapping
        Each with ``_target_``.

    Raises
    ------
    UsageError
        One names no function.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    found: dict[str, Metric] = {}
    for name, node in nodes.items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise UsageError(
                f"metrics.{name} needs a function: metrics.{name}._target_=package.function"
            )
        try:
            found[name] = instantiate({**node, "_partial_": True}, _convert_="all")
        except InstantiationException as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UsageError(f"metrics.{name}: {reason}") from error
    return found


def own_figures(
    own: Mapping[str, Metric],
    labels: Sequence[str],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
) -> dict[str, float]:
    """Compute figures of the user's own.

    Raises
    ------
    UsageError
        One fails.
    """
    figures = {}
    for name, function in own.items():
        try:
            figures[name] = float(function(labels, probabilities, classes))
        except Exception as error:  # whatever the user's code raises
            raise UsageError(f"metrics.{name}: {type(error).__name__}: {error}") from error
    return figures


def judge(
    fitted: Fitted,
    splits: Splits,
    rule: Rule,
    *,
    seed: int,
    own: Mapping[str, Metric] | None = None,
    factors: Mapping[str, float] | None = None,
    chosen: Chosen | None = None,
) -> Judged:
    """Choose the decision on validation rows unless it is chosen, and evaluate it on them and on test rows.

    Where it gives other labels than the likeliest, the figures of those stand beside it as
    ``test_plain_…``.

    Parameters
    ----------
    fitted : Fitted
    splits : Splits
    rule : Rule
        Of the decision.
    seed : int
        Of what intervals are drawn from.
    own : mapping of str to Metric, optional
        From `own_metrics`.
    factors : mapping of str to float, optional
        Of `sentiment.training.weighing.Weighing`.
    chosen : Chosen, optional
        A decision that other rows have chosen.

    Raises
    ------
    UsageError
        The classifier gives no probabilities, the decision cannot be chosen, or a metric of the
        user's fails.
    """
    from sentiment.evaluation.decisions import choose
    from sentiment.evaluation.metrics import evaluate_both

    classifier = fitted.classifier
    if not hasattr(classifier, "predict_proba"):
        raise UsageError(
            f"model: {type(classifier).__name__} gives no probabilities with these parameters; "
            "use a loss that does (model.loss=log_loss), or model=linear_svc, which is calibrated"
        )
    parts = {name: s for name, s in (("val", splits.val), ("test", splits.test)) if len(s)}
    probabilities = {name: fitted.probabilities(name, part.texts) for name, part in parts.items()}
    if chosen is None:
        if rule.tuned and "val" not in parts:
            raise UsageError(
                "decision: it is tuned on validation rows, of which there are none; data.val_size=0.1"
            )
        chosen = choose(
            rule,
            splits.val.labels,
            probabilities.get("val", np.empty((0, len(fitted.classes)))),
            fitted.classes,
            positive_label=splits.positive_label,
            factors=factors,
        )
    metrics: dict[str, float] = {}
    for name, split in parts.items():
        figures = evaluate_both(
            split.labels,
            probabilities[name],
            fitted.classes,
            positive_label=splits.positive_label,
            decision=chosen.decision,
            seed=seed,
        )
        metrics |= {f"{name}_{key}": value for key, value in figures.items()}
        figures = own_figures(own or {}, split.labels, probabilities[name], fitted.classes)
        metrics |= {f"{name}_{key}": value for key, value in figures.items()}
    return Judged(metrics, probabilities, chosen)


def compiled_form(
    fitted: Fitted, splits: Splits, judged: Judged, *, dtype: Any, prune: float
) -> CompiledScorer | KeptPipeline:
    """Compile the pipeline and hold it against its own answers on the test split.

    One that does not come down to linear scores is kept as it is.

    Parameters
    ----------
    fitted : Fitted
    splits : Splits
    judged : Judged
        Holds the pipeline's answers.
    dtype, prune
        The node ``compile``.

    Raises
    ------
    SentimentError
        The scorer answers otherwise than the pipeline.
    """
    from sentiment.compiler.compile import NotCompilableError, compile_scorer, tolerance
    from sentiment.compiler.fallback import keep_pipeline
    from sentiment.scorer.pipeline import TRUSTED_VARIABLE, untrusted_types
    from sentiment.text.corpus import parallel

    # What held-out texts look like is the reference that drift is measured against.
    reference = splits.val if len(splits.val) else splits.test
    about: dict[str, Any] = {
        "positive_label": splits.positive_label,
        "reference_texts": reference.texts,
        "reference_labels": reference.labels,
        "reference_name": "validation" if len(splits.val) else "test",
        "decision": judged.chosen.decision,
    }
    steps = fitted.vectorizer, fitted.classifier
    try:
        compiled = compile_scorer(*steps, **about, dtype=dtype, prune=prune)
    except NotCompilableError as error:
        log.warning("%s; the pipeline is kept: it answers everywhere, but slower", error)
        kept = keep_pipeline(*steps, **about)
        if names := untrusted_types(kept.pipeline):
            log.warning(
                "predict, serve and the others load it where its types are trusted: %s=%s",
                TRUSTED_VARIABLE, ",".join(names),
            )  # fmt: skip
        return kept
    expected = judged.probabilities["test"]
    if dtype == "float32" and not prune:
        found = compiled.scorer.predict(splits.test.texts, parallel)
        answers = found.probabilities
        worst = float(np.abs(answers - expected).max())
        same = bool((answers.argmax(axis=1) == expected.argmax(axis=1)).all())
        if worst > tolerance(found.scores) or not same:
            raise SentimentError(
                f"the compiled scorer disagrees with the pipeline by {worst:.2g} on the test split; "
                "this is a defect: please report it with the config of this run"
            )
    return compiled
