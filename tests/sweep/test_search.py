"""What a sweep tries: words into jobs, and into what Optuna searches."""

from __future__ import annotations

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path

from sentiment.errors import UsageError
from sentiment.sweep.search import Optuna, Space, distributions, grid, paired, word_of


def space(*words: str, **params: object) -> Space:
    return Space.parse(params, words, ConfigLoaderImpl(create_config_search_path(None)))


def test_spaces():
    found = space("a=1,2", "b=range(1,4)", "c=5", "d=[1,1],[1,2]", "a=3,3,4")
    assert found.fixed == ("c=5",)
    assert found.keys == ("b", "d", "a")
    jobs = grid(found, None).ask(None)
    assert len(jobs) == 3 * 2 * 2  # the same value twice is one job
    assert jobs[0] == (("b", "1"), ("d", "[1,1]"), ("a", "3"))
    assert len(grid(found, 5).ask(None)) == 5
    assert paired(space("a=1,2", "b=x,y"), None).ask(None) == [
        (("a", "1"), ("b", "x")),
        (("a", "2"), ("b", "y")),
    ]
    assert grid(space("a=1"), None).ask(None) == [()]


def test_jobs_are_given_some_at_a_time_and_once():
    search = grid(space("a=1,2,3"), None)
    assert (search.total, search.batch) == (3, None)
    assert search.ask(2) == [(("a", "1"),), (("a", "2"),)]
    search.tell((("a", "1"),), 0.5)
    assert search.ask(2) == [(("a", "3"),)]
    assert search.ask(2) == []


def test_words_of_a_file_give_way_to_those_of_the_command_line():
    found = space("a=9", a="choice(1,2)", b="choice(x,y)", c=None, d=[1, True])
    assert found.keys == ("b",)
    assert found.fixed == ("c=null", "d=[1,true]", "a=9")
    assert found.words() == ["b=choice(x,y)"]
    assert [word_of(value) for value in (None, False, 0.5, (1, None))] == [
        "null", "false", "0.5", "[1,null]",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["sweep.jobs", "output_dir", "tracking.uri", "cache.dir"])
def test_what_is_the_same_in_every_job_is_not_searched(key):
    with pytest.raises(UsageError, match=f"{key}=1,2: {key} is the same in every job"):
        space(f"{key}=1,2")


@pytest.mark.parametrize(
    ("search", "words", "told"),
    [
        (grid, ["a=interval(0,1)"], "an interval has no list of values for sweep.method=grid"),
        (paired, ["a=1,2", "b=1,2,3"], "equally many values of each key: a has 2, b has 3"),
        (grid, ["a=glob(*)"], "matches nothing"),
    ],
)  # fmt: skip
def test_a_space_without_a_list_of_jobs_is_refused(search, words, told):
    with pytest.raises(UsageError, match=told):
        search(space(*words), None)


@pytest.mark.parametrize(
    ("word", "kind", "attributes"),
    [
        ("interval(0.5, 2)", "FloatDistribution", {"low": 0.5, "high": 2.0, "log": False}),
        ("tag(log, interval(0.01, 10.0))", "FloatDistribution", {"low": 0.01, "log": True}),
        ("int(interval(1, 8))", "IntDistribution", {"low": 1, "high": 8, "log": False}),
        ("range(1, 10, 3)", "IntDistribution", {"low": 1, "high": 7, "step": 3}),
        ("range(0.5, 2, 0.5)", "FloatDistribution", {"low": 0.5, "high": 1.5, "step": 0.5}),
        ("shuffle(range(1, 4))", "CategoricalDistribution", {}),
        ("x,null", "CategoricalDistribution", {"choices": ("x", "null")}),
    ],
)  # fmt: skip
def test_each_kind_of_values_has_a_form_that_optuna_searches(word, kind, attributes):
    pytest.importorskip("optuna")
    found = distributions(space(f"a={word}"))["a"]
    assert type(found).__name__ == kind
    assert {name: getattr(found, name) for name in attributes} == attributes


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a=1"], "has nothing to search: model.C='interval"),
        (["a=tag(loq, interval(0.1, 1))"], "the tag 'loq' is not known; use log"),
        (["a=tag(log, interval(0.0, 1.0))"], r"a=tag\(log, interval\(0.0, 1.0\)\): .*low"),
    ],
)  # fmt: skip
def test_what_optuna_cannot_search_is_refused(words, told):
    pytest.importorskip("optuna")
    with pytest.raises(UsageError, match=told):
        distributions(space(*words))


def test_a_study_begins_with_the_config_and_goes_on_with_what_it_knows(tmp_path):
    pytest.importorskip("optuna")
    searched = space("a=tag(log, interval(0.01, 10))", "b=x,null", "n=range(1,5)")

    def study(trials: int, **defaults: str) -> Optuna:
        return Optuna(
            searched, defaults=defaults, database=tmp_path / "below/optuna.db", name="s", maximize=True,
            trials=trials, batch=2, seed=0,
        )  # fmt: skip

    first = study(5, a="0.5", b="null", n="2")
    jobs = first.ask(2)
    assert jobs[0] == (("a", "0.5"), ("b", "null"), ("n", "2"))
    assert len(set(jobs)) == 2
    first.tell(jobs[0], 0.9)
    first.tell(jobs[1], float("nan"))  # failed
    first.tell((("a", "7"),), 1.0)  # never asked for
    first.ask(1)  # its process is killed
    again = study(5, a="0.5", b="null", n="2")
    assert again.known == [jobs[0]]
    assert again.total == 4
    assert len(again.ask(9)) == 4
    assert again.ask(9) == []


@pytest.mark.parametrize("word", ["20", "word"])
def test_a_config_outside_the_space_is_not_tried_first(tmp_path, word):
    pytest.importorskip("optuna")
    study = Optuna(
        space("a=interval(0.01, 10)"), defaults={"a": word},
        database=tmp_path / "optuna.db", name="s", maximize=True, trials=1, batch=1, seed=0,
    )  # fmt: skip
    ((key, value),) = study.ask(1)[0]
    assert key == "a"
    assert 0.01 <= float(value) <= 10
