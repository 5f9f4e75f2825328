"""What is composed from what was kept is what Hydra itself composes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from hydra._internal import hydra as hydra_itself
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sentiment import config, config_loader
from sentiment.training.shell import hydra_shell


def whole(words, *flags):
    """The config as a task of Hydra's gets it, Hydra's own node included."""
    got = []
    from hydra.core.hydra_config import HydraConfig

    hydra_shell([*flags, *words], lambda cfg: got.append((cfg, HydraConfig.get())))
    return got[0]


def told(node, place=""):
    """What stands at each place, its type, and what may be written there."""
    if not OmegaConf.is_config(node):
        return {place: node}
    kind = OmegaConf.get_type(node)
    kind = kind if isinstance(kind, str) else kind.__name__
    tells = {place: (kind, OmegaConf.is_struct(node), OmegaConf.is_readonly(node))}
    for key in node if isinstance(node, DictConfig) else range(len(node)):
        raw = OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key)
        below = f"{place}.{key}"
        tells |= {below: "written"} if raw else told(node[key], below)
    return tells | {"yaml": OmegaConf.to_yaml(node)} if not place else tells


@pytest.fixture
def hydras(monkeypatch):
    """Compose with Hydra's own loader."""
    config.register()
    own = hydra_itself.ConfigLoaderImpl

    def compose(function, *words):
        monkeypatch.setattr(hydra_itself, "ConfigLoaderImpl", ConfigLoaderImpl)
        try:
            return function(*words)
        finally:
            monkeypatch.setattr(hydra_itself, "ConfigLoaderImpl", own)

    return compose


WORDS = [
    [],
    ["model=logreg", "model.C=0.1", "+model.penalty=l2", "data.sample_size=100"],
    ["experiment=quick", "vectorizer=char", "~vectorizer.max_df", "seed=3"],
    ["model=logreg", "vectorizer={max_features: 10}", "++tracking.tags={team: search}"],
    ["search=grid", "sweep.jobs=2", "+metrics.cost._target_=builtins.max"],
    ["model.C=1", "model.C=2", "data=files", "data.train=a b.csv", "data.label_names=[no,yes]"],
    ["hydra.job.env_copy=[HOME]", "hydra.job.name=mine", "run_name='a,b'"],
    ["hydra/job_logging=disabled", "data.slice_columns=[a,b]", "cv=5"],
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_the_config_is_that_of_hydra(words, hydras):
    expected = hydras(config.compose, words)
    assert isinstance(expected, DictConfig)
    for _ in range(2):  # made, and from what was kept
        assert told(config.compose(words)) == told(expected)


@pytest.mark.parametrize("words", [WORDS[1], WORDS[2]], ids=" ".join)
def test_hydras_own_node_is_that_of_hydra(words, hydras, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sentiment"])
    words = [*words, f"output_dir={tmp_path}", f"hydra.run.dir={tmp_path}/run"]
    expected = hydras(whole, words)
    for _ in range(2):
        cfg, node = whole(words)
        assert told(cfg) == told(expected[0])
        assert told(node) == told(expected[1])
        assert node.overrides.task == words[:-1]
        assert node.runtime.cwd == str(Path.cwd())


@pytest.mark.parametrize(
    "words", [["model.c=1"], ["model=non"], ["~seeed"], ["+seed=1"], ["seed=a"]]
)
def test_what_is_wrong_is_as_wrong_from_what_was_kept(words, hydras):
    config.compose()
    with pytest.raises(Exception) as expected:
        hydras(config.compose, words)
    with pytest.raises(type(expected.value)) as caught:
        config.compose(words)
    assert str(caught.value) == str(expected.value)
    assert not isinstance(caught.value, OmegaConfBaseException)


def test_a_config_is_its_owners():
    with open_dict(cfg := config.compose()):
        cfg.seed = 7
        cfg.model.mine = 1
        del cfg.vectorizer
    assert config.compose().seed == 42
    assert "mine" not in config.compose().model
    assert config.compose().vectorizer


def test_what_is_random_or_the_time_is_so_each_time():
    words = ["run_name='${random_hex:6}'"]
    assert config.compose(words).run_name != config.compose(words).run_name


def test_a_file_that_is_written_is_read(monkeypatch, tmp_path):
    own = tmp_path / "configs"
    shutil.copytree(config.CONFIG_DIR, own)
    for module in (config, config_loader):
        monkeypatch.setattr(module, "CONFIG_DIR", own)
    assert config.compose(["model=logreg"]).model.C != 77
    assert config.compose(["model=logreg"]).seed == 42

    (own / "model" / "mine.yaml").write_text("_target_: mine.Model\nC: 5\n", "utf-8")
    assert config.compose(["model=mine"]).model.C == 5
    (own / "model" / "mine.yaml").write_text("_target_: mine.Model\nC: 77\n", "utf-8")
    assert config.compose(["model=mine"]).model.C == 77
    root = own / "config.yaml"
    root.write_text(root.read_text("utf-8").replace("seed: 42", "seed: 43"), "utf-8")
    assert config.compose(["model=logreg"]).seed == 43


def test_a_node_that_is_stored_anew_is_read(monkeypatch):
    store = ConfigStore.instance()
    monkeypatch.setitem(store.repo, "model", dict(store.repo.get("model", {})))
    for value in (5, 77):
        store.store(group="model", name="stored", node={"_target_": "mine.Model", "alpha": value})
        cfg = config.compose(["model=stored"])
        assert cfg.model.alpha == value
