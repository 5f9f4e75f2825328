"""The history of aliases: what tags tell, in which order, and where a rollback leads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sentiment.registry import history
from sentiment.registry.history import (
    Move,
    begin_move,
    end_move,
    previous_champion,
    read_moves,
    settle,
)


class Tags:
    """The one part of a client that the history uses: setting tags."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        assert key not in self.tags, "the history is append-only"
        assert len(value) <= 5000
        self.tags[key] = value


def begin(client: Any, **changes: Any) -> Move:
    fields: dict[str, Any] = {
        "action": "promote", "alias": "champion", "from_version": None,
        "to_version": "1", "to_digest": "d", "why": None,
    }  # fmt: skip
    return begin_move(client, "sentiment", client.tags, **(fields | changes))


def moved(action: str, before: str | None, after: str, state: str = "completed") -> Move:
    return Move("", "", action, "champion", before, after, state=state)


def test_a_move_is_written_as_intent_and_then_as_completed() -> None:
    client = Tags()
    move = begin(client, why="better")
    assert [m.state for m in read_moves(client.tags)] == ["unfinished"]
    end_move(client, "sentiment", move, "completed")
    assert read_moves(client.tags) == [replace(move, state="completed")]
    assert move.by


def test_a_verdict_names_what_failed_also_where_the_checks_had_no_place() -> None:
    checks = [{"name": "size", "passed": True}, {"name": "accuracy", "passed": False}]
    told = {
        "default: passed": {"gate": "default", "passed": True},
        "default: failed accuracy": {"gate": "default", "passed": False, "checks": checks},
        "strict: failed rows, size": {
            "gate": "strict",
            "passed": False,
            "failed": ["rows", "size"],
        },
        "": None,
    }
    for verdict, gate in told.items():
        assert replace(moved("promote", None, "1"), gate=gate).verdict == verdict


def test_moves_sort_as_they_were_made_whatever_the_clock_says() -> None:
    client = Tags()
    ahead = "29990101T000000.000000Z-ffffff"
    client.tags[f"sentiment.history.{ahead}.intent"] = json.dumps(
        {
            "at": "",
            "action": "promote",
            "alias": "champion",
            "from_version": None,
            "to_version": "1",
        }
    )
    for number in range(2, 6):
        end_move(client, "sentiment", begin(client, to_version=str(number)), "completed")
    assert [move.to_version for move in read_moves(client.tags)] == ["1", "2", "3", "4", "5"]


def test_a_long_gate_result_keeps_the_names_of_what_failed() -> None:
    client = Tags()
    checks = [
        {"name": f"min.{'x' * 200}{n}", "measured": 0.1, "required": 0.2, "passed": False}
        for n in range(30)
    ]
    move = begin(
        client, gate={"gate": "default", "passed": False, "checks": checks}, why="y" * 9000
    )
    assert move.gate is not None
    assert move.gate["passed"] is False


def test_foreign_tags_are_passed_over() -> None:
    tags = {
        "team": "search",
        "sentiment.history.20260101T000000.000000Z-aaaaaa.intent": "not JSON",
        "sentiment.history.20260101T000000.000001Z-aaaaaa.intent": '{"unknown": 1}',
    }
    assert read_moves(tags) == []


def test_rollbacks_go_further_back_each_time() -> None:
    moves = [moved("promote", None, "1"), moved("promote", "1", "2"), moved("promote", "2", "3")]
    assert previous_champion(moves, "champion", "3") == "2"
    moves.append(moved("rollback", "3", "2"))
    assert previous_champion(moves, "champion", "2") == "1"
    moves.append(moved("rollback", "2", "1"))
    assert previous_champion(moves, "champion", "1") is None
    moves.append(moved("promote", "1", "4"))
    assert previous_champion(moves, "champion", "4") == "1"


def test_a_champion_set_by_hand_and_moves_that_never_happened() -> None:
    assert previous_champion([moved("promote", "7", "8")], "champion", "8") == "7"
    three = [moved("promote", "1", "2"), moved("promote", "2", "3")]
    assert previous_champion(three, "champion", "3", existing={"1", "3"}) == "1"
    assert previous_champion(three, "champion", "3", existing={"3"}) is None
    assert previous_champion([moved("promote", "7", "8")], "champion", "9") == "8"
    assert previous_champion([moved("promote", "7", "8", "abandoned")], "champion", "7") is None
    other = replace(moved("promote", "1", "2"), alias="challenger")
    assert previous_champion([other], "champion", "2") is None


@given(st.lists(st.one_of(st.integers(1, 5), st.just(0)), max_size=30))
def test_rolling_back_ends_at_the_first_champion(steps: list[int]) -> None:
    """A number promotes that version, 0 rolls back."""
    moves: list[Move] = []
    pile: list[str] = []
    for step in steps:
        current = pile[-1] if pile else None
        if step and str(step) != current:
            moves.append(moved("promote", current, str(step)))
            pile.append(str(step))
        elif not step and current is not None:
            target = previous_champion(moves, "champion", current)
            assert target == (pile[-2] if len(pile) > 1 else None)
            if target is not None:
                moves.append(moved("rollback", current, target))
                pile.pop()


def test_what_a_dead_process_left_is_settled_by_where_the_alias_stands() -> None:
    client = Tags()
    begin(client, to_version="1")
    begin(client, from_version="1", to_version="2")
    assert settle(client, "sentiment", client.tags, {"champion": "2"})
    assert [move.state for move in read_moves(client.tags)] == ["abandoned", "completed"]
    assert not settle(client, "sentiment", client.tags, {"champion": "2"})
    assert history.read_moves({}) == []
