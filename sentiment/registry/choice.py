"""Which run to register: the one that is named, the best, or the newest that made a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sentiment.errors import Parameter, UsageError, nearest
from sentiment.store import read_pointer
from sentiment.tracking.tags import DATA_FINGERPRINT, DIGEST

if TYPE_CHECKING:
    from sentiment.registry.registry import Registry
    from sentiment.tracking.types import Run


def choose_run(
    registry: Registry,
    run: str | None = None,
    best: str | None = None,
    experiment: str | None = None,
) -> tuple[str, str]:
    """Return the run to register, and how it was chosen.

    Parameters
    ----------
    registry : Registry
    run : str, optional
        Its id, or ``runs:/ID``: nothing is chosen.
    best : str, optional
        The metric by which the best is taken. Without either it is the run that made the latest model
        here, else the newest that has one.
    experiment : str, optional
        Choose among its runs alone.

    Raises
    ------
    UsageError
        There is no such run.
    """
    if run is not None:
        return run.removeprefix("runs:/"), ""
    if best is not None:
        run_id, compared = best_run(registry, best, experiment)
        return run_id, f": {compared}"
    pointer = read_pointer(registry.output_dir, "latest") if experiment is None else None
    if pointer is not None and pointer["run_id"]:
        return str(pointer["run_id"]), ": it made the latest model here"
    return newest_run(registry, experiment), ": the newest with a model"


def newest_run(registry: Registry, experiment: str | None = None) -> str:
    """Return the newest finished run that made a model."""
    return str(_runs(registry, experiment, ["attributes.start_time DESC"])[0].info.run_id)


def best_run(registry: Registry, metric: str, experiment: str | None = None) -> tuple[str, str]:
    """Return the finished run with the best value of a metric, and what was compared.

    Raises
    ------
    UsageError
        If no run has this metric, or it is one of the test split.
    """
    from sentiment.evaluation.metrics import LOWER_IS_BETTER

    if metric.startswith("test_"):
        raise UsageError(
            Parameter("best", metric),
            ": a model chosen by its test rows has no honest test figure left; choose by ",
            Parameter("best", f"val_{metric.removeprefix('test_')}"),
        )
    ascending = metric.removeprefix("val_") in LOWER_IS_BETTER or metric.startswith("seconds_")
    order = f"metrics.`{metric}` {'ASC' if ascending else 'DESC'}"
    runs = _runs(registry, experiment, [order, "attributes.start_time DESC"])
    having = [run for run in runs if metric in run.data.metrics]
    if not having:
        known = sorted({name for run in runs for name in run.data.metrics})
        raise UsageError(
            Parameter("best", metric),
            f": no run has this metric{nearest(metric, known)}"
            f" (there are {', '.join(name for name in known if name.startswith('val_'))})",
        )
    best = having[0]
    compared = f"{metric} {best.data.metrics[metric]:.4f} is the best of {len(having)} runs"
    sets = {run.data.tags.get(DATA_FINGERPRINT) for run in having}
    if len(sets) > 1:
        compared += (
            f" on {len(sets)} different data sets or splits (naming the experiment narrows it)"
        )
    return str(best.info.run_id), compared


def _runs(registry: Registry, experiment: str | None, order: list[str]) -> list[Run]:
    if experiment is None:
        experiments = [found.experiment_id for found in registry.client.search_experiments()]
    else:
        named = registry.client.get_experiment_by_name(experiment)
        if named is None:
            known = [found.name for found in registry.client.search_experiments()]
            raise UsageError(f"no experiment {experiment!r}{nearest(experiment, known)}")
        experiments = [named.experiment_id]
    runs = registry.client.search_runs(
        experiments,
        f"attributes.status = 'FINISHED' and tags.`{DIGEST}` LIKE '%'",
        max_results=1000,
        order_by=order,
    )
    if not runs:
        raise UsageError(
            f"no finished run with a model in MLflow at {registry.where}: train one: sentiment train"
        )
    return list(runs)
