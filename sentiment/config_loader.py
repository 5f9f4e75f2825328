"""How configs are composed: as Hydra does, but what the choice of options gives is made once.

A composition merges some forty files and nodes, most of them Hydra's own, which takes a fifth of a
second. What differs between the jobs of a sweep is mostly a value, and values come last: Hydra sets
them in what the files gave. So the files' part is kept, by the options that were chosen; who asks for a
config gets a copy, which takes a tenth of that and is theirs to change.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from sentiment.groups import CONFIG_DIR

_KEPT = 64


class ConfigLoader(ConfigLoaderImpl):
    """Hydra's loader, for the shipped files; with files of one's own beside them it is Hydra's alone."""

    _made: ClassVar[dict[Hashable, tuple[DictConfig, list[Any]]]] = {}

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Return what Hydra's own would: first the options and Hydra's keys, then the values."""
        words = OverridesParser.create().parse_overrides(overrides)
        if not self._is_shipped(words):
            return super()._load_configuration_impl(
                config_name, overrides, run_mode, from_shell, validate_sweep_overrides
            )
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(words, run_mode, from_shell)
        chosen = [word for word in words if self._chooses(word)]
        cfg = self._composed(config_name, [str(word.input_line) for word in chosen], run_mode)

        values = [word for word in words if not (word.is_sweep_override() or word in chosen)]
        self._apply_overrides_to_config(values, cfg)
        own = [word for word in words if not word.is_hydra_override()]
        with open_dict(cfg.hydra):
            cfg.hydra.overrides.task = [word.input_line for word in own]
            cfg.hydra.runtime.cwd = os.getcwd()  # noqa: PTH109 - a string, as Hydra has it
            cfg.hydra.job.env_set.update({key: os.environ[key] for key in cfg.hydra.job.env_copy})
            dirname = cfg.hydra.job.config.override_dirname
            cfg.hydra.job.override_dirname = get_overrides_dirname(
                own, dirname.exclude_keys, dirname.item_sep, dirname.kv_sep
            )
        return cfg

    def _is_shipped(self, words: list[Override]) -> bool:
        """Return whether all files are this project's or lie in packages."""
        if any(word.get_key_element() == "hydra.searchpath" for word in words):
            return False
        files = [source.path for source in self.get_sources() if source.scheme() == "file"]
        return all(Path(path) == CONFIG_DIR for path in files)

    def _chooses(self, word: Override) -> bool:
        """Return whether a word says what is merged; Hydra's keys, which seldom differ, go with those."""
        if word.is_hydra_override():
            return True
        if word.is_sweep_override() or isinstance(word.value(), dict):
            return False
        return self.repository.group_exists(word.key_or_group)

    def _composed(self, name: str | None, chosen: list[str], run_mode: RunMode) -> DictConfig:
        """Return what files and nodes give, which a later change of one of them makes anew."""
        nodes = list(_leaves(ConfigStore.instance().repo))
        # By identity: kept beside, none's number is given to another.
        key = (name, tuple(chosen), run_mode, _files(), tuple(map(id, nodes)))
        if key in self._made:
            return deepcopy(self._made[key][0])
        cfg = super()._load_configuration_impl(name, chosen, run_mode, True, False)
        if not cfg.hydra.searchpath:  # else other folders know of groups too
            if len(self._made) >= _KEPT:
                self._made.clear()
            self._made[key] = (deepcopy(cfg), nodes)
        return cfg


def _files() -> Hashable:
    """Return which files there are and when each was written."""
    found = [Path(folder, name) for folder, _, names in os.walk(CONFIG_DIR) for name in names]
    return tuple((str(file), (stat := file.stat()).st_mtime_ns, stat.st_size) for file in found)


def _leaves(store: dict[str, Any]) -> Iterator[Any]:
    for node in store.values():
        if isinstance(node, dict):
            yield from _leaves(node)
        else:
            yield node
