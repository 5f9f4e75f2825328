"""Turns by tags, as on a server: the database is named so that no lock of a file may do."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sentiment.errors import SentimentError
from sentiment.registry.turn import check_turn, turn

NAME = "sentiment"


@pytest.fixture
def client(outputs: Path) -> MlflowClient:
    uri = f"sqlite+pysqlite:///{outputs}/mlflow.db"
    client = MlflowClient(uri, uri)
    client.create_registered_model(NAME)
    return client


def turns(client: MlflowClient) -> list[str]:
    return [key for key in client.get_registered_model(NAME).tags if "turn" in key]


def test_turns_exclude_each_other(client: MlflowClient) -> None:
    inside: list[str] = []
    seen: list[int] = []

    def take_turns(who: str) -> None:
        for _ in range(2):
            with turn(client, NAME):
                inside.append(who)
                seen.append(len(inside))
                time.sleep(0.01)
                inside.remove(who)

    threads = [threading.Thread(target=take_turns, args=(who,)) for who in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 6
    assert turns(client) == []


def test_a_dead_process_does_not_hold_its_turn_for_ever(client: MlflowClient) -> None:
    for key, value in (("1-dead", "1"), ("2-dead", "choosing")):
        client.set_registered_model_tag(NAME, f"sentiment.turn.{key}", value)
    with turn(client, NAME, dead_after=0.3) as mine:
        assert turns(client) == [mine]


def test_who_stood_still_while_others_went_on_changes_nothing(client: MlflowClient) -> None:
    with turn(client, NAME) as mine:
        assert mine is not None
        check_turn(mine, client.get_registered_model(NAME).tags)
        client.delete_registered_model_tag(NAME, mine)
        with pytest.raises(SentimentError, match="others went on"):
            check_turn(mine, client.get_registered_model(NAME).tags)
    assert turns(client) == []


def test_a_turn_ends_with_its_body_however_that_ends(client: MlflowClient) -> None:
    with pytest.raises(KeyError), turn(client, NAME):
        raise KeyError
    assert turns(client) == []
