"""Every move of an alias, kept in the registry itself as tags of the registered model.

A move is written twice under its own key: ``<key>.intent`` before the alias moves and
``<key>.completed`` after it. Neither is ever changed, so the history travels with the
registry and shows what was begun and never ended.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sentiment.tracking.tags import MOVE

if TYPE_CHECKING:
    from sentiment.tracking.types import MlflowClient

_STAMP = "%Y%m%dT%H%M%S.%fZ"
_STATES = ("completed", "abandoned", "refused")
_MAX_TAG = 5000  # characters that a registry in PostgreSQL keeps
_MAX_WHY = 500


@dataclass(frozen=True)
class Move:
    """One move of an alias from one version to another.

    Attributes
    ----------
    key : str
        Sorts by time.
    at : str
        When it was begun, ISO 8601.
    action : str
        ``promote``, ``rollback`` or ``alias``.
    alias, from_version, to_version, to_digest
        What moved; ``from_version`` is None when the alias was not set.
    by, why : str
        Who did it, and the reason that was given.
    forced : bool
        Whether the gate was overruled.
    gate : dict, optional
        The gate's figures.
    state : str
        ``completed``; ``unfinished`` while the alias moves; ``abandoned`` when the process
        died before it moved; ``refused`` when another promotion came first and the gate then said no.
    """

    key: str
    at: str
    action: str
    alias: str
    from_version: str | None
    to_version: str
    to_digest: str | None = None
    by: str = ""
    why: str | None = None
    forced: bool = False
    gate: dict[str, Any] | None = None
    state: str = "unfinished"

    @property
    def verdict(self) -> str:
        """What the gate said, in words; empty where none was asked."""
        if self.gate is None:
            return ""
        if self.gate.get("passed"):
            return f"{self.gate['gate']}: passed"
        failed = [check["name"] for check in self.gate.get("checks", ()) if not check["passed"]]
        return f"{self.gate['gate']}: failed {', '.join(failed or self.gate.get('failed', ()))}"

    def to_dict(self) -> dict[str, Any]:
        """Return the move as plain containers."""
        return asdict(self)


def read_moves(tags: Mapping[str, str]) -> list[Move]:
    """Return the moves that a registered model's tags tell of, oldest first."""
    moves: dict[str, Move] = {}
    for name, value in tags.items():
        if name.startswith(MOVE) and name.endswith(".intent"):
            key = name.removeprefix(MOVE).removesuffix(".intent")
            try:
                move = Move(key=key, **json.loads(value))
            except (ValueError, TypeError):
                continue  # written by hand or by a newer version
            state = next((s for s in _STATES if f"{MOVE}{key}.{s}" in tags), "unfinished")
            moves[key] = replace(move, state=state)
    return [moves[key] for key in sorted(moves)]


def previous_champion(
    moves: Sequence[Move], alias: str, current: str, existing: Collection[str] | None = None
) -> str | None:
    """Return the version that a rollback leads to.

    Promotions pile up and a rollback takes the topmost one off, so that two rollbacks lead
    two champions back, not forth again.

    Parameters
    ----------
    moves : sequence of Move
        Oldest first; only completed ones of ``alias`` count.
    alias : str
        ``champion``.
    current : str
        Where the alias stands now, which may have been moved by hand.
    existing : collection of str, optional
        The versions that there still are: deleted ones are passed by.
    """
    pile: list[str] = []
    for move in moves:
        if move.alias != alias or move.state != "completed":
            continue
        if move.action == "rollback" and move.to_version in pile:
            while pile[-1] != move.to_version:
                pile.pop()
            continue
        for version in (move.from_version, move.to_version):
            if version is not None and (not pile or pile[-1] != version):
                pile.append(version)
    while pile and (pile[-1] == current or (existing is not None and pile[-1] not in existing)):
        pile.pop()
    return pile[-1] if pile else None


def begin_move(
    client: MlflowClient,
    name: str,
    tags: Mapping[str, str],
    *,
    action: str,
    alias: str,
    from_version: str | None,
    to_version: str,
    to_digest: str | None,
    why: str | None,
    forced: bool = False,
    gate: dict[str, Any] | None = None,
) -> Move:
    """Write the intent to move an alias.

    Parameters
    ----------
    client : MlflowClient
    name : str
        The registered model.
    tags : mapping
        Its tags as just read: the new key sorts after all of them, whatever this clock says.
    action, alias, from_version, to_version, to_digest, why, forced, gate
        See `Move`.
    """
    now = datetime.now(UTC)
    last = max((move.key for move in read_moves(tags)), default="")
    if now.strftime(_STAMP) <= last.split("-")[0]:
        now = datetime.strptime(last.split("-")[0], _STAMP).replace(tzinfo=UTC)
        now += timedelta(microseconds=1)
    content: dict[str, Any] = {
        "at": now.isoformat(timespec="seconds"),
        "action": action,
        "alias": alias,
        "from_version": from_version,
        "to_version": to_version,
        "to_digest": to_digest,
        "by": _who(),
        "why": why[:_MAX_WHY] if why else None,
        "forced": forced,
        "gate": gate,
    }
    text = _compact(content)
    if len(text) > _MAX_TAG and gate is not None:
        failed = [check["name"][:60] for check in gate["checks"] if not check["passed"]]
        content["gate"] = {"gate": gate["gate"], "passed": gate["passed"], "failed": failed}
        text = _compact(content)
    key = f"{now.strftime(_STAMP)}-{secrets.token_hex(3)}"
    client.set_registered_model_tag(name, f"{MOVE}{key}.intent", text)
    return Move(key=key, **content)


def end_move(client: MlflowClient, name: str, move: Move, state: str, note: str = "") -> Move:
    """Write how a move ended: ``completed``, ``abandoned`` or ``refused``."""
    content = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "note": note[:_MAX_WHY]}
    client.set_registered_model_tag(name, f"{MOVE}{move.key}.{state}", _compact(content))
    return replace(move, state=state)


def settle(
    client: MlflowClient, name: str, tags: Mapping[str, str], aliases: Mapping[str, str]
) -> bool:
    """Say how the moves of processes that died ended, in one's turn; whether there were any."""
    unfinished = [move for move in read_moves(tags) if move.state == "unfinished"]
    for move in unfinished:
        moved = aliases.get(move.alias) == move.to_version
        note = "its process ended before it could say so"
        end_move(client, name, move, "completed" if moved else "abandoned", note)
    return bool(unfinished)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"  # a container without a user database
    return f"{user}@{socket.gethostname()}"


def _compact(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
