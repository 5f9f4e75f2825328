"""Addresses of models, and names that are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment.errors import UsageError
from sentiment.registry.reference import check_alias, check_name, parse, version_named
from sentiment.registry.registry import fetch


def test_every_way_to_name_a_model() -> None:
    assert parse("runs:/abc").run == "abc"
    assert parse("models:/a b@champion").alias == "champion"
    assert parse("models:/x/3").version == "3"
    assert parse("models:/x/latest").version == "latest"
    assert parse("models:/m-0123abcd").model == "m-0123abcd"


def test_which_version_is_named() -> None:
    assert version_named("3", "mine") == ("mine", "3")
    assert version_named("challenger") == ("sentiment", "challenger")
    assert version_named("models:/other@champion", "mine") == ("other", "champion")
    assert version_named("models:/other/2", "mine") == ("other", "2")
    for reference, kind in (("runs:/abc", "run"), ("models:/m-0123abcd", "logged model")):
        with pytest.raises(UsageError, match=f"{reference} is a {kind}, not a version"):
            version_named(reference)


def test_stages_name_the_alias_to_use() -> None:
    with pytest.raises(UsageError, match="models:/x@champion"):
        parse("models:/x/Production")
    with pytest.raises(UsageError, match="models:/m-<id>"):
        parse("models:/x/y/z")


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "3", "Champion", "a b", "a/b"])
def test_aliases_that_mean_something_else_are_refused(alias: str) -> None:
    with pytest.raises(UsageError):
        check_alias(alias)
    check_alias("challenger")


@pytest.mark.parametrize("name", ["a:b", "a/b", "", " "])
def test_names_that_mlflow_refuses_are_refused_before(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)
    check_name("my model")


def test_a_logged_model_and_the_newest_version_are_fetched(outputs: Path, cli) -> None:  # type: ignore[no-untyped-def]
    assert cli("register").code == 0
    newest = fetch("models:/sentiment/latest", outputs)
    assert newest.version == "1"
    from sentiment.tracking import client as tracking

    client = tracking.connect(outputs)
    (model,) = client.get_run(str(newest.run_id)).outputs.model_outputs
    assert fetch(f"models:/{model.model_id}", outputs).digest == newest.digest
    with pytest.raises(UsageError, match="no logged model"):
        fetch("models:/m-00", outputs)
