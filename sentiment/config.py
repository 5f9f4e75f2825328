"""The typed root of the configuration, where the YAML files lie, and how they are composed."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal import hydra as hydra_itself
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from sentiment import groups
from sentiment.config_errors import explain
from sentiment.config_files import FileConfigSource
from sentiment.config_loader import ConfigLoader
from sentiment.errors import Parameter, UsageError
from sentiment.words import in_quotes, sort_words, text_keys

CONFIG_DIR = groups.CONFIG_DIR
PLUGINS = str(Path(__file__).resolve().parent / "_plugins")

# Keys that say how or where a run is made, not what it computes.
_NOT_CONTENT = frozenset(
    [
        "output_dir", "hydra", "sweep", "search", "cache", "engine", "experiment_name", "run_name",
        "tracking", "start_from", "curve",
    ]
)  # fmt: skip
_NOT_CONTENT_OF_DATA = frozenset(["memory", "resume"])


@dataclass
class DataConfig:
    """Where labelled text comes from and how it is split; the keys of `sentiment.data.splits.load_splits`."""

    name: str = MISSING
    source: str = MISSING
    path: str | None = None
    subset: str | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    group_column: str | None = None
    time_column: str | None = None
    split_column: str | None = None
    label_names: Any = None
    positive_label: str | None = None
    split: str = "hash"
    val_size: float = 0.1
    test_size: float = 0.2
    sample_size: int | None = None
    on_bad_rows: str = "drop"
    on_leak: str | None = None
    balance: str = "none"
    corrections: str | None = None
    soft_labels: Any = None
    weight_column: str | None = None
    slice_columns: list[str] | None = None
    report: bool = False
    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    also: str | None = None
    also_weights: list[float] | None = None
    unlabelled: str | None = None
    memory: str | None = None
    resume: bool = False
    streaming: bool = False
    passes: int = 1


@dataclass
class SemiConfig:
    """How texts without label are learned from; the parameters of `sentiment.training.recipe.Recipe`."""

    dimensions: int = 100
    share: float = 0.4
    rounds: int = 1
    weight: float = 1.0
    labels: str = "hard"
    folds: int = 5
    keep: str = "better"


@dataclass
class CompileConfig:
    """How the fitted pipeline becomes a scorer."""

    dtype: str = "float32"
    prune: float = 0.0


@dataclass
class AbstainConfig:
    """When no label is given; at most one of them."""

    confidence: float | None = None
    max_error: float | None = None
    coverage: float | None = None


@dataclass
class DecisionConfig:
    """How probabilities become labels; the options of ``configs/decision``."""

    rule: str = "argmax"
    metric: str | None = None
    threshold: float | None = None
    thresholds: dict[Any, float] = field(default_factory=dict)
    costs: dict[Any, Any] = field(default_factory=dict)
    abstain: AbstainConfig = field(default_factory=AbstainConfig)
    tuned_on: str | None = None


@dataclass
class SweepConfig:
    """How a multirun is driven; `sentiment.sweep.sweeper` checks the values before the first job."""

    method: str = "grid"
    objective: str = "val_f1_score"
    direction: str | None = None
    jobs: int = 1
    trials: int | None = None
    time_budget: str | None = None
    on_error: str = "continue"
    cv: int | None = None
    retries: int = 0
    resume: bool = False
    dry_run: bool = False
    keep_models: str = "best"
    report: bool = False


@dataclass
class CacheConfig:
    """Where features of earlier runs lie, and how much disk they may take."""

    dir: str | None = None
    max_gb: float = 4.0


@dataclass
class EngineConfig:
    """Who computes what is made in blocks; the options of ``configs/engine``."""

    name: str = "local"
    address: str | None = None


@dataclass
class TrackingConfig:
    """Where runs are logged; MLflow's environment variables win over ``uri``."""

    uri: str | None = None
    artifacts: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    notes: str | None = None
    system_metrics: bool = False


@dataclass
class GateConfig:
    """What a model must show to become champion; the options of ``configs/gate``."""

    min: dict[str, float] = field(default_factory=dict)
    max: dict[str, float] = field(default_factory=dict)
    beat_majority: bool = True
    significance: float | None = 0.05
    max_drop: float | None = None
    min_rows: int = 100
    max_relabelled: float | None = 0.05
    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    min_behavior: float | None = None
    behavior_file: str | None = None


@dataclass
class GateRoot:
    """What ``sentiment register`` composes: the gate alone."""

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"gate": "default"}])
    gate: GateConfig = field(default_factory=GateConfig)


@dataclass
class Config:
    """The root: every key that a run knows."""

    data: DataConfig = field(default_factory=DataConfig)
    vectorizer: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    semi: SemiConfig = field(default_factory=SemiConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    compile: CompileConfig = field(default_factory=CompileConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    metrics: dict[str, Any] = field(default_factory=dict)
    curve: bool = False
    cv: int | None = None
    experiment_name: str = "sentiment"
    run_name: str | None = None
    start_from: str | None = None
    seed: int = 42
    output_dir: str = "outputs"


@dataclass
class SweeperNode:
    """The node ``hydra.sweeper``: ``params`` is where Hydra's users write a search space in a file."""

    _target_: str = "hydra_plugins.sentiment_sweeper.SentimentSweeper"
    params: dict[str, Any] | None = None


@functools.cache
def _register_schema() -> None:
    FileConfigSource.texts = text_keys(Config)
    SourcesRegistry.instance().register(FileConfigSource)
    hydra_itself.ConfigLoaderImpl = ConfigLoader  # type: ignore[attr-defined]
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(name="register", node=GateRoot)
    store.store(group="hydra/sweeper", name="sentiment", node=SweeperNode, provider="sentiment")


def register() -> None:
    """Make the schema, the files, the sweeper and the resolvers known to Hydra; may be called again."""
    _register_schema()
    # Hydra takes plugins from the namespace package hydra_plugins alone and looks for it along
    # sys.path when it starts, so this must come first.
    if PLUGINS not in sys.path:
        sys.path.append(PLUGINS)
    OmegaConf.register_new_resolver(
        "env_or", lambda name, default: os.environ.get(name) or default, replace=True
    )
    OmegaConf.register_new_resolver(
        "random_hex", lambda n: secrets.token_hex(int(n) // 2), use_cache=True, replace=True
    )


def content_hash(cfg: DictConfig) -> str:
    """Return the SHA-256 of what a run computes, whatever its names and places."""
    content = {key: value for key, value in to_dict(cfg).items() if key not in _NOT_CONTENT}
    if "data" in content:
        content["data"] = {
            key: value for key, value in content["data"].items() if key not in _NOT_CONTENT_OF_DATA
        }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def to_dict(cfg: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain containers.

    Raises
    ------
    UsageError
        A value must be given, or refers to what is not there.
    """
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise explain_error(error, ()) from error
    if not isinstance(plain, dict):
        raise TypeError(f"a config is a mapping, not {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}


def cache_dir(cfg: DictConfig) -> Path:
    """Return where features are kept between runs."""
    if cfg.cache.dir:
        return folder("cache.dir", cfg.cache.dir)
    return Path(cfg.output_dir) / "cache"


def folder(key: str, value: str) -> Path:
    """Return the folder that a key names.

    Raises
    ------
    UsageError
        It is an address, of which a path would make folders.
    """
    if "://" in value:
        raise UsageError(f"{key}={value}: an address is no folder; give one that all machines see")
    return Path(value)


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys; lists stay values."""
    if not isinstance(content, dict):
        return {prefix: content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def compose(overrides: Sequence[str] = (), *, name: str = "config") -> DictConfig:
    """Compose the config that ``sentiment train OVERRIDES`` would use, or the root ``name``.

    Parameters
    ----------
    overrides : sequence of str
        Words of the command line; ``--config-dir`` and ``--config-name`` may be among them.
    name : str
        A root config.

    Raises
    ------
    UsageError
        If an override names an unknown key or option, or a value has the wrong type.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    register()
    GlobalHydra.instance().clear()
    words = sort_words(overrides, Config)
    name = words.config_name or name
    folder, other = places(words.config_dir, name)
    beside = [] if other is None else [f"hydra.searchpath=[{in_quotes(f'file://{other}')}]"]
    try:
        with hydra.initialize_config_dir(str(folder), version_base="1.3"):
            return hydra.compose(name, [*beside, *words.overrides])
    except Exception as error:
        raise explain_error(error, overrides, name) from error


def places(config_dir: str | None, name: str) -> tuple[Path, Path | None]:
    """Return where the root config lies, and where further files do.

    Hydra looks for the root config in the first place alone.

    Parameters
    ----------
    config_dir : str or None
        What ``--config-dir`` says.
    name : str
        The root config.

    Raises
    ------
    UsageError
        There is no such folder.
    """
    if config_dir is None:
        return CONFIG_DIR, None
    own = Path(config_dir).resolve()
    if not own.is_dir():
        raise UsageError(Parameter("config_dir", config_dir), ": no such folder")
    return (own, CONFIG_DIR) if (own / f"{name}.yaml").is_file() else (CONFIG_DIR, own)


def explain_error(error: Exception, overrides: Sequence[str], name: str = "config") -> Exception:
    """Return what an error of composing the root ``name`` with these words means: see `explain`."""
    return explain(error, overrides, name, lambda words: _all_keys(compose(words, name=name)))


def _all_keys(cfg: DictConfig) -> list[str]:
    keys = set(flatten(OmegaConf.to_container(cfg, resolve=False)))
    groups = {"experiment", "search"} if "data" in cfg else set()
    return sorted(keys | {key.rsplit(".", 1)[0] for key in keys} | groups)
