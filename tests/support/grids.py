"""Parameters of several kinds, all combined."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest


def combined(*axes: Iterable[Any]) -> list[Any]:
    """Return every combination; slow, but for as many as hold each value once.

    Parameters
    ----------
    *axes : iterable
        The values of each parameter.
    """
    values = [list(axis) for axis in axes]
    longest = max(map(len, values))
    quick = {tuple(i % len(axis) for axis in values) for i in range(longest)}
    return [
        pytest.param(
            *(axis[i] for axis, i in zip(values, places, strict=True)),
            marks=() if places in quick else pytest.mark.slow,
        )
        for places in itertools.product(*(range(len(axis)) for axis in values))
    ]
