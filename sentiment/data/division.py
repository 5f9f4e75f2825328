"""Which split each row belongs to: by its hash, at random, by group, by time, or as a column says."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import DataError, UsageError, nearest
from sentiment.groups import CHOICES

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Parts = NDArray[np.int8]

TRAIN, VAL, TEST = 0, 1, 2
_NAMED = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL,
          "dev": VAL, "test": TEST, "testing": TEST}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How rows are divided.

    Attributes
    ----------
    how : {'hash', 'random'}
        ``hash``: a keyed hash of the text (or of its group) decides, so that a row keeps its
        side when the file grows, is shuffled or sampled; shares and strata hold on average.
        ``random``: a seeded draw, stratified exactly; every row may move when one is added.
    val_size, test_size : float
        Shares in [0, 1) of the rows.
    seed : int
    group_column : str, optional
        Rows that agree in it stand on one side.
    time_column : str, optional
        The newest rows test, those before them validate.
    split_column : str, optional
        It names the split of each row.
    """

    how: str
    val_size: float
    test_size: float
    seed: int
    group_column: str | None = None
    time_column: str | None = None
    split_column: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        UsageError
            If a share is none, or two ways to divide are asked for.
        """
        known = CHOICES["data.split"]
        if self.how not in known:
            raise UsageError(
                f"data.split={self.how!r} is not one of {', '.join(known)}{nearest(str(self.how), known)}"
            )
        for key, share in (("val_size", self.val_size), ("test_size", self.test_size)):
            if not 0 <= share < 1:
                raise UsageError(f"data.{key}={share} is not a share: give 0 <= {key} < 1")
        if self.val_size + self.test_size >= 1:
            raise UsageError(
                f"data.val_size={self.val_size} and data.test_size={self.test_size} "
                "leave nothing to train on"
            )
        ways = {
            key: value
            for key in ("group_column", "time_column", "split_column")
            if (value := getattr(self, key)) is not None
        }
        if len(ways) > 1:
            given = " and ".join(f"data.{key}={value}" for key, value in ways.items())
            raise UsageError(f"{given} divide the rows in two ways: give one of them")

    @property
    def columns(self) -> list[str]:
        """The columns that it needs."""
        found = (self.group_column, self.time_column, self.split_column)
        return [column for column in found if column is not None]


def column(name: str) -> str:
    """Return what a column of the source is called in a frame of labelled rows."""
    return f"column:{name}"


def hash_places(keys: Sequence[str], seed: int, purpose: str = "") -> Floats:
    """Return a number in [0, 1) for each text or group, from its hash and the seed.

    Parameters
    ----------
    keys : sequence of str
    seed : int
    purpose : str
        Numbers of different purposes are independent.
    """
    key = f"{seed}{purpose}".encode()
    raw = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
        for text in keys
    )
    return np.frombuffer(raw, dtype="<u8") / 2.0**64


def groups_of(frame: pl.DataFrame, plan: Plan) -> list[str] | None:
    """Return the group of each row; a row without one is a group of its own."""
    if plan.group_column is None:
        return None
    groups = frame[column(plan.group_column)].cast(str).to_list()
    return [
        f"group {group}" if group else f"text {text}"
        for group, text in zip(groups, frame["text"].to_list(), strict=True)
    ]


def parts_by_place(places: Floats, val_size: float, test_size: float) -> Parts:
    """Return the split of each place: the lowest test, those above them validate."""
    parts = np.full(len(places), TRAIN, dtype=np.int8)
    parts[places < test_size + val_size] = VAL
    parts[places < test_size] = TEST
    return parts


def parts_by_name(frame: pl.DataFrame, name: str) -> Parts:
    """Return the split that a column names.

    Raises
    ------
    DataError
        If a value names none.
    """
    values = frame[column(name)].cast(str)
    spelt = {value: _NAMED.get(str(value).strip().lower()) for value in values.unique()}
    wrong = sorted(str(value) for value, part in spelt.items() if part is None)
    if wrong:
        bad = values.is_in(
            [value for value, part in spelt.items() if part is None], nulls_equal=True
        )
        row = frame["row"][int(bad.arg_true()[0])]
        raise DataError(
            f"data.split_column={name!r} holds {', '.join(map(repr, wrong[:3]))} (first: row {row}): "
            "it names train, val or test for every row"
        )
    return np.array([spelt[value] for value in values], dtype=np.int8)


def times_of(frame: pl.DataFrame, name: str) -> Floats:
    """Return the time of each row: seconds, or the numbers that the column holds.

    Raises
    ------
    DataError
        If one cannot be read; it names the first such row.
    """
    import polars as pl

    values = frame[column(name)]
    if values.dtype.is_temporal() and not values.has_nulls():
        return values.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy() / 1e6
    times = np.empty(len(values))
    for position, value in enumerate(values.to_list()):
        try:
            times[position] = _time(value)
        except (ValueError, TypeError):
            shown = "nothing" if value is None or value == "" else repr(value)
            raise DataError(
                f"data.time_column={name!r}: row {frame['row'][position]} holds {shown}, which is "
                "no time: write 2024-05-31, 2024-05-31T12:00:00 or numbers, or leave the row out"
            ) from None
    return times


def _time(value: object) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return _time(datetime.fromisoformat(value.strip()))
    else:
        number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def time_bounds(times: Floats, plan: Plan, most: int | None = None) -> tuple[float, float]:
    """Return the times from which rows validate and test; rows of one time stay together.

    Parameters
    ----------
    times : float64[rows]
    plan : Plan
    most : int, optional
        Held out at most for each.

    Raises
    ------
    DataError
        If there are too few different times.
    """
    test_from = _bound(times, plan.test_size, len(times), most, plan)
    val_from = _bound(times[times < test_from], plan.val_size, len(times), most, plan)
    return min(val_from, test_from), test_from


def _bound(times: Floats, share: float, rows: int, most: int | None, plan: Plan) -> float:
    wanted = round(share * rows)
    if most is not None:
        wanted = min(wanted, most)
    if not wanted:
        return math.inf
    distinct, counts = np.unique(times, return_counts=True)
    held = np.cumsum(counts[::-1])[::-1]  # rows from each time on
    if len(distinct) < 2:
        raise DataError(
            f"data.time_column={plan.time_column!r} holds too few different times to hold out "
            f"{share:.0%} as the newest: divide by hash instead (data.time_column=null)"
        )
    return float(distinct[1:][np.abs(held[1:] - wanted).argmin()])


def parts_by_time(times: Floats, bounds: tuple[float, float]) -> Parts:
    """Return the split of each time."""
    parts = np.full(len(times), TRAIN, dtype=np.int8)
    parts[times >= bounds[0]] = VAL
    parts[times >= bounds[1]] = TEST
    return parts


def divide(frame: pl.DataFrame, plan: Plan) -> Parts:
    """Return the split of each row.

    Parameters
    ----------
    frame : DataFrame
        Columns ``text``, ``label`` (as it is named) and ``row``, and those that the plan needs.
    plan : Plan

    Raises
    ------
    DataError
        If the rows cannot be divided so.
    """
    labels = frame["label"].to_list()
    if plan.split_column is not None:
        return parts_by_name(frame, plan.split_column)
    if plan.time_column is not None:
        times = times_of(frame, plan.time_column)
        return parts_by_time(times, time_bounds(times, plan))
    groups = groups_of(frame, plan)
    if plan.how == "hash":
        places = hash_places(groups or frame["text"].to_list(), plan.seed)
        return parts_by_place(places, plan.val_size, plan.test_size)
    if groups is not None:
        return _draw_groups(labels, groups, plan)
    parts = np.full(len(labels), TRAIN, dtype=np.int8)
    n_val, rest = round(plan.val_size * len(labels)), np.arange(len(labels))
    for part, size, key in (
        (TEST, round(plan.test_size * len(labels)), "data.test_size"),
        (VAL, n_val, "data.val_size"),
    ):
        if size or (part == TEST and plan.test_size):
            kept, held = draw([labels[i] for i in rest], len(rest) - size, plan.seed, key)
            parts[rest[held]] = part
            rest = rest[kept]
    return parts


def draw(
    labels: Sequence[str], first: int, seed: int, key: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw ``first`` rows and the rest, keeping the shares of the labels.

    Raises
    ------
    DataError
        If a label occurs once, or one side is smaller than the number of labels.
    """
    from sklearn.model_selection import train_test_split

    counts = Counter(labels)
    rarest, count = min(counts.items(), key=lambda item: (item[1], item[0]))
    rest = len(labels) - first
    if count < 2:
        raise DataError(f"the label {rarest!r} occurs once: it cannot stand in every split ({key})")
    if min(first, rest) < len(counts):
        raise DataError(
            f"{key} leaves {min(first, rest)} rows for {len(counts)} classes: give a larger share"
        )
    chosen, others = train_test_split(
        np.arange(len(labels)), train_size=first, test_size=rest, stratify=labels, random_state=seed
    )
    # In the order of the source, so that a split does not depend on the shuffle's internals.
    return np.sort(chosen), np.sort(others)


def sample(frame: pl.DataFrame, size: int, plan: Plan) -> NDArray[np.int64]:
    """Return ``size`` rows in order, keeping the shares of the labels.

    By hash, a smaller sample of the same rows is a part of a larger one.
    """
    labels = frame["label"].to_list()
    if plan.how == "random":
        return draw(labels, size, plan.seed, "data.sample_size")[0]
    codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    order = np.argsort(hash_places(frame["text"].to_list(), plan.seed, "sample"), kind="stable")
    counts = np.bincount(codes)
    if size < len(counts):
        raise DataError(f"data.sample_size={size} leaves fewer rows than {len(counts)} classes")
    # The rank of each row within its class, as a share of the class: the lowest shares are taken.
    share = np.empty(len(codes))
    for code, count in enumerate(counts):
        rows = order[codes[order] == code]
        share[rows] = (np.arange(count) + 0.5) / count
        share[rows[0]] = 0.0  # every class stands in the sample
    return np.sort(np.argsort(share, kind="stable")[:size])


def _draw_groups(labels: Sequence[str], groups: Sequence[str], plan: Plan) -> Parts:
    """Give whole groups to the splits, the most uneven first, each where labels are missing most."""
    names, group_of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    classes, code_of = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_of, code_of), 1)
    shares = np.array([1 - plan.val_size - plan.test_size, plan.val_size, plan.test_size])
    total = counts.sum(axis=0)
    wanted = shares[:, None] * total
    held = np.zeros_like(wanted)
    part_of = np.zeros(len(names), dtype=np.int8)
    shuffled = np.random.default_rng(plan.seed).permutation(len(names))
    for group in shuffled[np.argsort(-counts[shuffled].std(axis=1), kind="stable")]:
        missing = (wanted - held) / np.maximum(wanted, 1e-9)
        # How much of what a split still lacks this group's labels would fill.
        gain = (missing * counts[group]).sum(axis=1)
        gain[shares == 0] = -np.inf
        part_of[group] = part = int(gain.argmax())
        held[part] += counts[group]
    return part_of[group_of]


def check_parts(labels: Sequence[str], parts: Parts, plan: Plan) -> None:
    """Refuse a division that leaves nothing to learn from or to test on.

    Raises
    ------
    DataError
        If a part that was asked for is empty, or a label stands in no training row.
    """
    columns = ("group_column", "time_column", "split_column")
    way = next(
        (f"data.{key}={getattr(plan, key)}" for key in columns if getattr(plan, key) is not None),
        f"data.split={plan.how}",
    )
    tested = plan.test_size > 0 or plan.split_column is not None
    for part, name, needed in ((TRAIN, "train", True), (TEST, "test", tested)):
        if needed and not (parts == part).any():
            fix = "give more rows"
            if plan.split_column is not None:
                fix = "name it in that column"
            elif plan.group_column is not None:
                fix = "give more groups"
            elif plan.how == "hash":
                fix = "give more rows, or draw them: data.split=random"
            raise DataError(f"{way} leaves no row for {name} ({len(labels)} rows): {fix}")
    trained = {label for label, part in zip(labels, parts, strict=True) if part == TRAIN}
    missing = sorted(set(labels) - trained)
    if missing:
        count = sum(label == missing[0] for label in labels)
        raise DataError(
            f"{way} leaves no training row of the label {missing[0]!r} ({count} rows in all): "
            "give more rows of it, or another seed"
        )
