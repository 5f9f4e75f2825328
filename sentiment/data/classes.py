"""Which classes there are, and what is odd about them."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from sentiment.data.split import Split
from sentiment.errors import DataError, nearest

log = logging.getLogger(__name__)

# Marks of direction, joiners and the like, and what chooses a sign's picture.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")


# Grades and the like are fewer.
_MOST_NUMBERS = 20


def check_classes(
    labels: Counter[str],
    positive_label: str | None,
    label_column: str,
    *,
    known: tuple[str, ...] | None = None,
    part: str = "test",
) -> tuple[str, ...]:
    """Return the classes in order.

    Parameters
    ----------
    labels : Counter
        Rows of each label.
    positive_label : str, optional
        Must be one of them.
    label_column : str
        Named in errors.
    known : tuple of str, optional
        The classes of the training rows, when these are held-out ones.
    part : str
        Which they are.

    Raises
    ------
    DataError
        If there are fewer than two, some that are not known, or they look like measured numbers.
    """
    classes = tuple(sorted(labels))
    if known is not None:
        if unknown := sorted(set(classes) - set(known)):
            raise DataError(
                f"the {part} data holds labels that train lacks: {', '.join(unknown[:5])}"
            )
        return known
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "no label"
        raise DataError(
            f"data.label_column={label_column!r} holds {found}; training needs two classes or more"
        )
    if len(classes) > max(_MOST_NUMBERS, labels.total() / 2) and all(map(_is_number, classes)):
        raise DataError(
            f"data.label_column={label_column!r} looks continuous: {len(classes):,} different numbers in "
            f"{labels.total():,} rows, such as {classes[len(classes) // 2]}; training needs classes: write "
            "a column of a few, such as low and high, or name another column"
        )
    if positive_label is not None and positive_label not in classes:
        raise DataError(
            f"data.positive_label={positive_label!r} is not a label"
            f"{nearest(positive_label, classes)} (labels: {', '.join(classes[:20])})"
        )
    return classes


def warn_of_classes(classes: Sequence[str], train: Split, test: Split) -> None:
    """Say which classes cannot be judged, and which may be one."""
    counts = Counter(test.labels)
    untested = [label for label in classes if not counts[label]]
    if untested:
        log.warning(
            "%d of %d classes have no test row, so test figures say nothing of them: %s",
            len(untested),
            len(classes),
            ", ".join(untested[:10]),
        )
    rare = [label for label, rows in Counter(train.labels).items() if rows < 3]
    if rare:
        log.warning(
            "%d classes have fewer than 3 training rows: %s",
            len(rare),
            ", ".join(sorted(rare)[:10]),
        )
    alike: dict[str, list[str]] = {}
    for label in classes:
        plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        alike.setdefault(_UNSEEN.sub("", plain), []).append(label)
    for labels in alike.values():
        if len(labels) > 1:
            log.warning(
                "labels that differ only in case, width, blanks, composition or signs that are not seen "
                "are classes of their own: %s (data.label_names makes them one)",
                ", ".join(map(repr, labels)),
            )
    for sign in "|;,":
        several = [label for label in classes if sign in label]
        parts = Counter(part.strip() for label in several for part in label.split(sign))
        if any(part in classes or rows > 1 for part, rows in parts.items()):
            log.warning(
                "labels such as %r look like several in one: each is a class of its own, and a text "
                "gets one",
                several[0],
            )


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
