"""The config composes, knows its types, and says what is wrong in one line."""

from __future__ import annotations

import pytest
from hydra.plugins.config_source import ConfigLoadError

from sentiment import config
from sentiment.config_files import FileConfigSource
from sentiment.errors import UsageError


def test_defaults_compose():
    cfg = config.compose()
    assert cfg.data.name == "reviews"
    assert cfg.seed == 42


def test_output_dir_from_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SENTIMENT_OUTPUT_DIR", str(tmp_path))
    assert config.compose().output_dir == str(tmp_path)
    assert config.compose(["output_dir=elsewhere"]).output_dir == "elsewhere"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeed=1", "unknown key 'seeed'; did you mean 'seed'"),
        ("model.c=1", "unknown key 'model.c'; did you mean 'model.C'"),
        ("vectorizer.max_feature=10", "did you mean 'vectorizer.max_features'"),
        ("max_features=10", "did you mean 'vectorizer.max_features'"),
        ("data.smaple_size=10", "did you mean 'data.sample_size'"),
        ("model=logrec", "unknown option model=logrec; did you mean 'logreg'"),
        ("modle=logreg", "unknown key 'modle'; did you mean 'model'"),
        ("experiment=quik", "unknown option experiment=quik; did you mean 'quick'"),
        ("seed=abc", "seed.*abc"),
        ("data.val_size=much", "data.val_size.*much"),
        ("model.C=[1,", "cannot read the override"),
    ],
)
def test_a_wrong_override_is_one_line_with_a_hint(override, message):
    with pytest.raises(UsageError, match=message) as caught:
        config.compose([override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["model=null", "experiment=null", "=1", "~=1"])
def test_a_group_that_is_given_no_option_is_told(word):
    with pytest.raises(UsageError, match="a group is given the name of one of its options"):
        config.compose([word])


def test_content_hash_ignores_names_and_places():
    base = config.content_hash(config.compose())
    for same in ("output_dir=x", "run_name=x", "experiment_name=x", "tracking.uri=x"):
        assert config.content_hash(config.compose([same])) == base
    for other in ("seed=1", "data.sample_size=10", "model=logreg"):
        assert config.content_hash(config.compose([other])) != base


def test_flatten_keeps_lists():
    assert config.flatten({"a": {"b": 1, "c": [1, 2]}}) == {"a.b": 1, "a.c": [1, 2]}


def test_a_tracer_changes_no_message(monkeypatch):
    monkeypatch.setenv("OC_CAUSE", "1")
    with pytest.raises(UsageError, match="'abc'") as error:
        config.compose(["seed=abc"])
    assert "$" not in str(error.value)


def test_a_file_that_is_not_there_is_hydras_own_error(tmp_path):
    source = FileConfigSource("x", str(tmp_path))
    with pytest.raises(ConfigLoadError, match="Config not found"):
        source.load_config("absent")
