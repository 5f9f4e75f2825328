"""What a challenger has shown in the shadow of the champion, as checks of a promotion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment import shadow
from sentiment.errors import SentimentError
from sentiment.evaluation.metrics import mcnemar
from sentiment.registry.gate import Check
from sentiment.registry.promotion import Promotion, PromotionResult, promote
from sentiment.shadow import Answered

if TYPE_CHECKING:
    from sentiment.config import GateConfig
    from sentiment.registry.registry import Registry

_SIGNIFICANCE = 0.05
_MOST = 1_000_000  # answers: with more nobody will wait


def promote_from_shadow(
    registry: Registry, which: str | None, promotion: Promotion, why: str | None = None
) -> PromotionResult:
    """Make a version champion if it passes, also by what people answered in the service.

    Parameters
    ----------
    registry : Registry
    which : str or None
        The version's number or alias; by default the challenger that was served.
    promotion : Promotion
    why : str, optional
    """
    which = which or challenger_version(registry)
    evidence = shadow_evidence(registry.output_dir, promotion.rules)
    return promote(registry, which, replace(promotion, evidence=evidence), why)


def challenger_version(registry: Registry) -> str:
    """Return the registered version that the service compares with its champion.

    Raises
    ------
    SentimentError
        No challenger was served here, or it is not registered.
    """
    found = shadow.read_challenger(shadow.shadow_file(registry.output_dir))
    if found is None or found.digest is None:
        raise SentimentError(
            f"nothing was served in the shadow from {registry.output_dir}: "
            "a service that is told SENTIMENT_SHADOW compares a challenger with the champion"
        )
    with registry.reaching():
        version = registry.version_with(found.digest)
    if version is None:
        raise SentimentError(
            f"the challenger {found.digest[:12]} is no version of {registry.name}: "
            "register its run first"
        )
    return version.version


def shadow_evidence(output_dir: Path, rules: GateConfig) -> Callable[[str, str], tuple[Check, ...]]:
    """Return what judges two models, by their digests, by what people answered.

    Parameters
    ----------
    output_dir : Path
        Of the service.
    rules : GateConfig
        ``min_rows`` texts have to be answered, and the challenger has to be better at
        ``significance``.
    """

    def checks(champion: str, challenger: str) -> tuple[Check, ...]:
        found = shadow.compare(shadow.shadow_file(output_dir), champion, challenger)
        return judge_answers(found.answered, rules.min_rows, rules.significance or _SIGNIFICANCE)

    return checks


def judge_answers(answered: Answered, min_rows: int, significance: float) -> tuple[Check, ...]:
    """Check that there are enough answers and that the challenger is better by them.

    Parameters
    ----------
    answered : Answered
    min_rows : int
    significance : float
        Of McNemar's test.
    """
    n = answered.n
    enough = n >= min_rows
    detail = f"in the shadow {n} texts with a true label"
    if not enough:
        detail += f", {min_rows - n} more are needed (POST /feedback of the service)"
    rows = Check("shadow_rows", float(n), float(min_rows), enough, detail)
    if not n:
        return (rows,)
    only, theirs = answered.only_challenger, answered.only_champion
    p_value = mcnemar(theirs, only)
    better = only > theirs and p_value < significance
    detail = (
        f"in the shadow {answered.challenger:.4f} against the champion's {answered.champion:.4f}: "
        f"alone right on {only} texts, the champion on {theirs} (p = {p_value:.2g})"
    )
    if answered.withheld_challenger or answered.withheld_champion:
        detail += (
            f"; counted as given, it withholds {answered.withheld_challenger} of its answers, "
            f"the champion {answered.withheld_champion}"
        )
    if not better:
        detail += f", {_missing(answered, significance)}"
    return rows, Check("shadow_accuracy", p_value, significance, better, detail)


def _missing(answered: Answered, significance: float) -> str:
    """Say what would decide."""
    only, theirs, n = answered.only_challenger, answered.only_champion, answered.n
    if only <= theirs:
        return "which is no evidence that it is better"
    times = 1.0
    while n * times < _MOST:
        times *= 1.05
        if mcnemar(round(theirs * times), round(only * times)) < significance:
            return f"about {round(n * times) - n} more answers of this kind would decide"
    return "too small a difference to decide"
