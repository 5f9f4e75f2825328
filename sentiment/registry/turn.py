"""Turns: one process at a time moves an alias, kept as tags of the registered model."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.errors import SentimentError
from sentiment.files import locked
from sentiment.tracking.tags import TURN

if TYPE_CHECKING:
    from sentiment.tracking.types import MlflowClient

# A turn takes a few requests; who stands still for this long has died.
TURN_SECONDS = 60.0


@contextmanager
def turn(
    client: MlflowClient, name: str, *, dead_after: float = TURN_SECONDS
) -> Iterator[str | None]:
    """Wait for one's turn to change a registered model; others wait until the body ends.

    MLflow's registry has no compare-and-set, but setting a tag is atomic, which is enough for
    the bakery algorithm: everybody takes a number one higher than all that are out and waits
    for the lower ones. In a local SQLite database a lock on a file beside it does the same and
    is let go by the system when a process dies.

    Parameters
    ----------
    client : MlflowClient
    name : str
        The registered model.
    dead_after : float
        Seconds after which who has not moved is taken for dead.

    Yields
    ------
    str or None
        The tag that stands as long as the turn is ours; None where the system sees to that.

    References
    ----------
    Lamport, "A New Solution of Dijkstra's Concurrent Programming Problem", CACM 17, 1974.
    """
    where = client.tracking_uri
    if where.startswith("sqlite:///"):
        with locked(Path(where.removeprefix("sqlite:///")).with_suffix(".lock")):
            yield None
        return
    mine = f"{TURN}{time.time_ns():x}-{secrets.token_hex(4)}"
    client.set_registered_model_tag(name, mine, "choosing")
    try:
        taken = _numbers(client.get_registered_model(name).tags).values()
        number = 1 + max((other for other in taken if other is not None), default=0)
        client.set_registered_model_tag(name, mine, str(number))
        _wait(client, name, mine, number, dead_after)
        yield mine
    finally:
        # A tag that cannot be removed now is removed by whoever waits for it.
        with contextlib.suppress(Exception):
            client.delete_registered_model_tag(name, mine)


def check_turn(mine: str | None, tags: Mapping[str, str]) -> None:
    """Make sure that a turn has not passed to another while this process stood still.

    Raises
    ------
    SentimentError
        If it has.
    """
    if mine is not None and mine not in tags:
        raise SentimentError(
            f"the registry took more than {TURN_SECONDS:.0f} s and others went on: "
            "nothing was changed, try again"
        )


def _wait(client: MlflowClient, name: str, mine: str, number: int, dead_after: float) -> None:
    first_seen: dict[tuple[str, int | None], float] = {}
    while True:
        tags = client.get_registered_model(name).tags
        check_turn(mine, tags)
        numbers = _numbers(tags)
        ahead = [
            (key, other)
            for key, other in numbers.items()
            if key != mine and (other is None or (other, key) < (number, mine))
        ]
        if not ahead:
            return
        now = time.monotonic()
        for key, other in ahead:
            if now - first_seen.setdefault((key, other), now) > dead_after:
                client.delete_registered_model_tag(name, key)
        time.sleep(0.1 + secrets.randbelow(100) / 1000)


def _numbers(tags: Mapping[str, str]) -> dict[str, int | None]:
    """Return everybody's number; None of those who are about to take one."""
    return {
        key: int(value) if value.isdigit() else None
        for key, value in tags.items()
        if key.startswith(TURN)
    }
