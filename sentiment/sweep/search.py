"""What a sweep tries: the product of all values, values in pairs, or what Optuna asks for next."""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from sentiment.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    import optuna

# Keys that drive the sweep itself; a job cannot have its own.
_NOT_SEARCHED = re.compile(r"(sweep|tracking|cache)(\.|$)|output_dir$|search$|experiment_name$")
_DEFAULT_TRIALS = 20

Assignment = tuple[tuple[str, str], ...]
"""A job's values: (key, word) pairs in the order of the space."""


@dataclass(frozen=True)
class Space:
    """What stays the same in every job and what is searched.

    Attributes
    ----------
    fixed : tuple of str
        Overrides of every job.
    searched : tuple of Override
        Hydra's parsed sweeps: choices, ranges, globs and intervals.
    """

    fixed: tuple[str, ...]
    searched: tuple[Override, ...]

    @classmethod
    def parse(
        cls, params: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader
    ) -> Space:
        """Read ``hydra.sweeper.params`` and the command line, which wins.

        Raises
        ------
        UsageError
            If a key of the sweep itself is searched.
        """
        words = [f"{key}={word_of(value)}" for key, value in params.items()] + list(arguments)
        latest: dict[str, Override] = {}
        for override in OverridesParser.create(config_loader=loader).parse_overrides(words):
            key = override.get_key_element()
            latest.pop(key, None)
            latest[key] = override
        searched = tuple(o for o in latest.values() if o.is_sweep_override())
        for override in searched:
            if _NOT_SEARCHED.match(override.key_or_group):
                raise UsageError(
                    f"{override.input_line}: {override.key_or_group} is the same in every job; "
                    "give it one value"
                )
        fixed = (str(o.input_line) for o in latest.values() if not o.is_sweep_override())
        return cls(tuple(fixed), searched)

    @property
    def keys(self) -> tuple[str, ...]:
        """The searched keys, as overrides name them."""
        return tuple(override.get_key_element() for override in self.searched)

    def words(self) -> list[str]:
        """Return the searched part as Hydra's users write it."""
        return [str(override.input_line) for override in self.searched]


def word_of(value: Any) -> str:
    """Return a value as Hydra writes it in an override: ``null``, ``true``, ``[1,2]``."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(word_of, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(override: Override, method: str) -> list[str]:
    if override.is_interval_sweep():
        raise UsageError(
            f"{override.input_line}: an interval has no list of values for sweep.method={method}; "
            "use sweep.method=optuna, or name the values"
        )
    values = list(override.sweep_string_iterator())
    if not values:
        raise UsageError(f"{override.input_line} matches nothing")
    return values


class Search(Protocol):
    """Proposes jobs and hears of their outcome."""

    batch: int | None
    """Jobs to ask for at once; None for all."""
    total: int
    """Jobs at most."""

    def ask(self, n: int | None) -> list[Assignment]:
        """Return up to ``n`` further jobs; none when the search is over."""

    def tell(self, assignment: Assignment, value: float | None) -> None:
        """Report a job's objective, or None when it failed."""


class Fixed:
    """A list of jobs that is known from the start."""

    batch: int | None = None

    def __init__(self, assignments: Iterable[Assignment], limit: int | None) -> None:
        # The same values twice are one job.
        self._left = list(dict.fromkeys(assignments))[:limit]
        self.total = len(self._left)

    def ask(self, n: int | None) -> list[Assignment]:
        """Return up to ``n`` further jobs."""
        n = len(self._left) if n is None else n
        asked, self._left = self._left[:n], self._left[n:]
        return asked

    def tell(self, assignment: Assignment, value: float | None) -> None:
        """Nothing depends on outcomes."""


def grid(space: Space, limit: int | None) -> Fixed:
    """Every combination of the values, the last key changing fastest."""
    axes = [
        [(key, word) for word in _choices(override, "grid")]
        for key, override in zip(space.keys, space.searched, strict=True)
    ]
    return Fixed(itertools.product(*axes), limit)


def paired(space: Space, limit: int | None) -> Fixed:
    """All first values together, all second values together, and so on.

    Raises
    ------
    UsageError
        If the keys do not have equally many values.
    """
    axes = [_choices(override, "paired") for override in space.searched]
    if len({len(axis) for axis in axes}) > 1:
        counts = ", ".join(
            f"{key} has {len(axis)}" for key, axis in zip(space.keys, axes, strict=True)
        )
        raise UsageError(f"sweep.method=paired needs equally many values of each key: {counts}")
    return Fixed(
        (tuple(zip(space.keys, row, strict=True)) for row in zip(*axes, strict=True)), limit
    )


class Optuna:
    """Optuna's tree-structured Parzen estimator, asked for jobs and told their outcome.

    Parameters
    ----------
    space : Space
        As `distributions` accepts it.
    defaults : mapping
        The config's own value of each key: the first job, where it lies within the space.
    database : Path
        SQLite file of the study.
    name : str
        Of the study; one that exists is continued.
    maximize : bool
        Direction.
    trials : int, optional
        Jobs in all, those of a continued study included.
    batch : int
        Jobs to ask for at once.
    seed : int
        Of the sampler.

    References
    ----------
    Akiba et al., "Optuna", KDD 2019; Bergstra et al., "Algorithms for Hyper-Parameter
    Optimization", NeurIPS 2011.
    """

    def __init__(
        self,
        space: Space,
        *,
        defaults: Mapping[str, str],
        database: Path,
        name: str,
        maximize: bool,
        trials: int | None,
        batch: int,
        seed: int,
    ) -> None:
        self._distributions = distributions(space)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        database.parent.mkdir(parents=True, exist_ok=True)
        with _own_logging():
            self._study = optuna.create_study(
                storage=f"sqlite:///{database.resolve()}",
                study_name=name,
                load_if_exists=True,
                direction="maximize" if maximize else "minimize",
            )
        known = self._study.get_trials(deepcopy=False)
        # A continued study must not draw its first numbers again.
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(known), multivariate=True, constant_liar=batch > 1,
            n_startup_trials=min(10, 2 + 2 * len(space.keys)),
        )  # fmt: skip
        self._failed = optuna.trial.TrialState.FAIL
        for trial in known:
            if trial.state == optuna.trial.TrialState.RUNNING:  # its process was killed
                self._study.tell(trial.number, state=self._failed)
        if not known:
            self._enqueue_defaults(defaults)
        self.batch: int | None = batch
        # Of a continued study.
        self.known: list[Assignment] = [
            tuple((key, word_of(value)) for key, value in trial.params.items())
            for trial in known
            if trial.state == optuna.trial.TrialState.COMPLETE
        ]
        self.total = max(0, (trials or _DEFAULT_TRIALS) - len(self.known))
        self._left = self.total
        self._open: dict[Assignment, list[optuna.Trial]] = {}

    def _enqueue_defaults(self, defaults: Mapping[str, str]) -> None:
        """Try what the config says first: a search should not end below where it began."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        values: dict[str, Any] = {}
        for key, distribution in self._distributions.items():
            word = defaults.get(key)
            if isinstance(distribution, CategoricalDistribution):
                if word not in distribution.choices:
                    return
                values[key] = word
            else:
                try:
                    number = float(word or "")
                except ValueError:
                    return
                if not distribution.low <= number <= distribution.high:  # type: ignore[attr-defined]
                    return
                whole = isinstance(distribution, IntDistribution)
                values[key] = int(number) if whole else number
        self._study.enqueue_trial(values)

    def ask(self, n: int | None) -> list[Assignment]:
        """Return up to ``n`` further jobs."""
        asked = []
        for _ in range(min(self._left, n or 1)):
            trial = self._study.ask(self._distributions)
            assignment = tuple((key, word_of(value)) for key, value in trial.params.items())
            self._open.setdefault(assignment, []).append(trial)
            asked.append(assignment)
        self._left -= len(asked)
        return asked

    def tell(self, assignment: Assignment, value: float | None) -> None:
        """Report a job's objective, or None when it failed."""
        trials = self._open.get(assignment)
        if not trials:
            return
        trial = trials.pop()
        if value is None or math.isnan(value):
            self._study.tell(trial, state=self._failed)
        else:
            self._study.tell(trial, value)


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return Optuna's form of a space.

    Raises
    ------
    MissingExtraError
        If Optuna is not installed.
    UsageError
        If nothing is searched, or a sweep has no such form.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("sweep.method=optuna", "optuna") from error
    if not space.searched:
        raise UsageError("sweep.method=optuna has nothing to search: model.C='interval(0.01, 10)'")
    return {
        key: _distribution(override)
        for key, override in zip(space.keys, space.searched, strict=True)
    }


def _distribution(override: Override) -> optuna.distributions.BaseDistribution:
    """Return Optuna's form of one of Hydra's sweeps.

    ``interval`` is a float, or a whole number as ``int(interval(…))``; ``tag(log, …)`` searches
    the logarithm; choices are taken as words.
    """
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    value = override.value()
    tags = value.tags if isinstance(value, ChoiceSweep | IntervalSweep | RangeSweep) else set()
    unknown = tags - {"log"}
    if unknown:
        raise UsageError(f"{override.input_line}: the tag {min(unknown)!r} is not known; use log")
    log = "log" in tags
    try:
        if isinstance(value, IntervalSweep):
            assert value.start is not None
            assert value.end is not None
            if isinstance(value.start, int) and isinstance(value.end, int):
                return IntDistribution(value.start, value.end, log=log)
            return FloatDistribution(value.start, value.end, log=log)
        if isinstance(value, RangeSweep) and not value.shuffle:
            numbers = list(value.range())
            if numbers and all(isinstance(number, int) for number in numbers):
                step = 1 if log else abs(int(value.step))
                return IntDistribution(min(numbers), max(numbers), log=log, step=step)
            if numbers and not log:
                return FloatDistribution(min(numbers), max(numbers), step=abs(float(value.step)))
        return CategoricalDistribution(_choices(override, "optuna"))
    except ValueError as error:
        raise UsageError(f"{override.input_line}: {error}") from error


@contextmanager
def _own_logging() -> Iterator[None]:
    """Keep this process's logging: Optuna's database sets up its own, and silences all others."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    known = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    silent = [one.disabled for one in known]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        for one, was in zip(known, silent, strict=True):
            one.disabled = was
