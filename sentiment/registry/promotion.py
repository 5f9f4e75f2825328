"""Register, promote and roll back: who becomes champion, and how that comes about safely."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sentiment import store
from sentiment.errors import SentimentError
from sentiment.registry import gate, history
from sentiment.registry.contest import Contender
from sentiment.registry.history import Move
from sentiment.registry.reference import check_alias, check_name
from sentiment.registry.registry import CHAMPION, Registry, Version, alias_of
from sentiment.registry.source import Source, info_of
from sentiment.registry.turn import check_turn, turn
from sentiment.tracking import client as tracking
from sentiment.tracking.tags import TEST_FINGERPRINT

if TYPE_CHECKING:
    from sentiment.config import GateConfig
    from sentiment.scorer import Scorer
    from sentiment.tracking.types import RegisteredModel


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """The rules by which a model may become champion.

    ``force`` is the reason to overrule them, ``other_labels`` the reason to allow labels that are
    not the champion's, which no force does. ``evidence`` gives further checks of champion and
    candidate, by their digests.
    """

    rules: GateConfig
    option: str
    force: str | None = None
    other_labels: str | None = None
    evidence: Callable[[str, str], tuple[gate.Check, ...]] | None = None


def promotion_by(
    option: str,
    words: Sequence[str] = (),
    *,
    force: str | None = None,
    other_labels: str | None = None,
) -> Promotion:
    """Return a promotion by the rules of ``gate=option`` and of words that change them.

    Parameters
    ----------
    option : str
        A file of ``configs/gate``.
    words : sequence of str
        ``gate.KEY=VALUE``, and ``gate=OPTION`` for another file.
    force, other_labels : str, optional
        See `Promotion`.

    Raises
    ------
    UsageError
        If there is no such option or key, or a value cannot be.
    """
    option = [option, *(word[5:] for word in words if word.startswith("gate="))][-1]
    rules = gate.load_rules(option, [word for word in words if not word.startswith("gate=")])
    return Promotion(rules, option, force, other_labels)


@dataclass(frozen=True)
class PromotionResult:
    """What registering, promoting or rolling back did.

    ``created`` tells whether the version is new, ``moves`` which aliases moved, ``gate`` what
    was checked (None without a promotion, and for the present champion).
    """

    version: Version
    created: bool
    moves: tuple[Move, ...]
    gate: gate.GateResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain containers."""
        return {
            **self.version.to_dict(),
            "created_now": self.created,
            "champion": CHAMPION in self.version.aliases,
            "moves": [move.to_dict() for move in self.moves],
            "gate": self.gate.to_dict() if self.gate else None,
        }


def register(
    registry: Registry,
    run_id: str,
    *,
    alias: str | None = None,
    promotion: Promotion | None = None,
    why: str | None = None,
) -> PromotionResult:
    """Register a run's model; the same digest is the same version.

    Parameters
    ----------
    registry : Registry
    run_id : str
    alias : str, optional
        An alias to set on the version.
    promotion : Promotion, optional
        Make it champion if it passes.
    why : str, optional
        The reason that the history keeps.

    Raises
    ------
    UsageError
        If there is no such run, or it has no model.
    ModelError
        If the run's scorer is not the one that it logged.
    GateRefusedError
        If it does not pass; nothing was changed.
    """
    check_name(registry.name)
    if alias is not None:
        check_alias(alias)
    with registry.reaching():
        source = registry.source_of_run(run_id)
        return _take(registry, source, None, alias, promotion, why)


def promote(
    registry: Registry, which: str, promotion: Promotion, why: str | None = None
) -> PromotionResult:
    """Make a registered version champion if it passes; see `register`.

    Parameters
    ----------
    registry : Registry
    which : str
        The version's number or alias.
    promotion : Promotion
    why : str, optional
    """
    with registry.reaching():
        version = registry.get(which)
        source = registry.source_of_version(version)
        return _take(registry, source, version, None, promotion, why)


def rollback(registry: Registry, why: str | None = None) -> PromotionResult:
    """Set the alias ``champion`` back to the champion before the present one.

    Raises
    ------
    SentimentError
        If the history knows none.
    """
    with registry.reaching():
        return _roll_back(registry, why)


def _roll_back(registry: Registry, why: str | None) -> PromotionResult:
    name, client = registry.name, registry.client
    seen = registry.registered()
    while True:
        current = alias_of(seen, CHAMPION)
        if current is None:
            raise SentimentError(f"{name} has no champion to roll back from")
        moves = history.read_moves(seen.tags)
        existing = {version.version for version in registry.versions()}
        target = history.previous_champion(moves, CHAMPION, current, existing)
        passed = history.previous_champion(moves, CHAMPION, current)
        if passed is not None and passed != target:
            log.warning("version %s, the champion before, was deleted: passed by", passed)
        if target is None:
            raise SentimentError(
                f"the history of {name} knows no champion before version {current} "
                "(sentiment models promote VERSION sets one)"
            )
        version = registry.get(target)
        registry.bring(registry.source_of_version(version))
        with turn(client, name) as mine:
            now = _settled(registry, mine)
            moves = history.read_moves(now.tags)
            same = alias_of(now, CHAMPION) == current
            if not same or history.previous_champion(moves, CHAMPION, current, existing) != target:
                seen = now  # somebody else moved it meanwhile
                continue
            move = _move(registry, mine, CHAMPION, version, action="rollback", why=why)
        return PromotionResult(registry.get(target), False, (move,) if move else ())


def _take(
    registry: Registry,
    source: Source,
    version: Version | None,
    alias: str | None,
    promotion: Promotion | None,
    why: str | None,
) -> PromotionResult:
    """Verify, judge, register and move aliases: in this order, so that a refusal changes nothing."""
    from sentiment.scorer import Scorer

    created, raced = False, False
    with registry.downloaded(source) as folder:
        scorer = Scorer.load(folder, digest=source.digest)
        while True:
            result, champion = None, None
            if promotion is not None:
                champion = _champion(registry)
                if champion is None or champion.digest != source.digest:
                    result = _judge(registry, promotion, source, lambda: scorer, champion)
                if result is not None and not (
                    result.passed or (promotion.force and not result.other_labels)
                ):
                    if raced and version is not None:
                        _record_refusal(registry, version, champion, why, result)
                    raise gate.GateRefusedError(source.label, result)
            if promotion is not None or alias is not None:
                store.import_model(folder, info_of(source), registry.output_dir, source.digest)
            tracking.ensure_registered_model(registry.client, registry.name)
            with turn(registry.client, registry.name) as mine:
                registered = _settled(registry, mine)
                if version is None:
                    version = registry.version_with(source.digest)
                    created = version is None
                    version = version or registry.create(source)
                before = champion.version if champion else None
                if promotion is not None and alias_of(registered, CHAMPION) != before:
                    raced = True  # another champion came first: it is what to compare with
                    continue
                moves = []
                if alias is not None:
                    moves.append(_move(registry, mine, alias, version, why=why))
                if promotion is not None:
                    forced = result is not None and not result.passed
                    why = promotion.force if forced else why or promotion.force
                    why = why or promotion.other_labels
                    moves.append(
                        _move(
                            registry, mine, CHAMPION, version,
                            action="promote", why=why, forced=forced, result=result,
                        )
                    )  # fmt: skip
            done = tuple(move for move in moves if move is not None)
            return PromotionResult(registry.get(version.version), created, done, result)


def _move(
    registry: Registry,
    mine: str | None,
    alias: str,
    version: Version,
    *,
    action: str = "alias",
    why: str | None = None,
    forced: bool = False,
    result: gate.GateResult | None = None,
) -> Move | None:
    """Move an alias, and the local pointer with it; in one's turn."""
    client, name = registry.client, registry.name
    registered = registry.registered()
    check_turn(mine, registered.tags)
    before = alias_of(registered, alias)
    move = None
    if before != version.version:
        move = history.begin_move(
            client,
            name,
            registered.tags,
            action=action,
            alias=alias,
            from_version=before,
            to_version=version.version,
            to_digest=version.digest,
            why=why,
            forced=forced,
            gate=result.summary() if result else None,
        )
        client.set_registered_model_alias(name, alias, version.version)
        move = history.end_move(client, name, move, "completed")
    # A version that was registered elsewhere may lack the digest's tag.
    digest = version.digest or registry.source_of_version(version).digest
    store.set_pointer(
        registry.output_dir,
        alias,
        digest,
        name=name,
        version=version.version,
        run_id=version.run_id,
        source=f"models:/{name}@{alias}",
    )
    return move


def _settled(registry: Registry, mine: str | None) -> RegisteredModel:
    """Return the registered model once nothing unfinished is left of dead processes."""
    registered = registry.registered()
    check_turn(mine, registered.tags)
    aliases = {alias: str(version) for alias, version in registered.aliases.items()}
    if history.settle(registry.client, registry.name, registered.tags, aliases):
        registered = registry.registered()
    return registered


def _record_refusal(
    registry: Registry,
    version: Version,
    champion: Version | None,
    why: str | None,
    result: gate.GateResult,
) -> None:
    """Keep that a promotion which had passed was refused once another had come first."""
    with turn(registry.client, registry.name) as mine:
        move = history.begin_move(
            registry.client,
            registry.name,
            _settled(registry, mine).tags,
            action="promote",
            alias=CHAMPION,
            from_version=champion.version if champion else None,
            to_version=version.version,
            to_digest=version.digest,
            why=why,
            gate=result.summary(),
        )
        history.end_move(registry.client, registry.name, move, "refused", result.failures)


def _champion(registry: Registry) -> Version | None:
    registered = tracking.find(registry.client.get_registered_model, registry.name)
    if registered is None or alias_of(registered, CHAMPION) is None:
        return None
    return registry.get(CHAMPION)


def _judge(
    registry: Registry,
    promotion: Promotion,
    source: Source,
    load: Callable[[], Scorer],
    champion: Version | None,
) -> gate.GateResult:
    with TemporaryDirectory(prefix="sentiment-") as folder:
        against = None
        if champion is not None:
            theirs = registry.source_of_version(champion)
            against = _contender(
                registry, theirs, lambda: registry.load(theirs), Path(folder) / "champion"
            )
        candidate = _contender(registry, source, load, Path(folder) / "candidate")
        result = gate.judge(
            promotion.rules,
            promotion.option,
            candidate,
            against,
            other_labels=promotion.other_labels,
        )
    if promotion.evidence is None:
        return result
    if champion is None:
        raise SentimentError(f"{registry.name} has no champion: nothing was compared in the shadow")
    digest = champion.digest or registry.source_of_version(champion).digest
    return replace(result, checks=(*result.checks, *promotion.evidence(digest, source.digest)))


def _contender(
    registry: Registry, source: Source, load: Callable[[], Scorer], folder: Path
) -> Contender:
    folder.mkdir()

    @cache
    def run_file(name: str) -> Path | None:
        run_id = source.run_id
        if run_id is None or tracking.find(registry.client.get_run, run_id) is None:
            return None
        return tracking.download_run_file(registry.client, run_id, name, folder)

    return Contender(
        source.label,
        load,
        source.metrics,
        source.tags.get(TEST_FINGERPRINT),
        run_file,
    )
