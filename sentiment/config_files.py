"""How config files are read: as Hydra does, but that bare words stay words where such are meant."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from hydra._internal.core_plugins import file_config_source as hydra_files
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from sentiment.bare_words import Meant, loader

_NAMES = ("data.label_names", "data.soft_labels", "data.slice_columns", "tracking.tags")
_NAMED = ("decision.thresholds", "decision.costs", "model.class_weight")


class FileConfigSource(hydra_files.FileConfigSource):
    """Hydra's files, in which the bare words ``no``, ``on`` or ``012`` are labels and texts.

    It has the name of Hydra's own class: of two with one name, Hydra takes what it met first.
    """

    texts: ClassVar[frozenset[str]] = frozenset()
    """The keys that are texts; the schema knows them."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Return what a file says, where Hydra's own would put it."""
        file = Path(self.path, self._normalize_file_name(config_path))
        if not file.exists():
            raise ConfigLoadError(f"Config not found : {file}")
        text = file.read_text("utf-8")
        header = self._get_header_dict(text[:512])
        group = config_path.rpartition("/")[0].replace("/", ".")
        package = header.get("package") or "_group_"
        above = package.replace("_group_", group).replace("_global_", "").strip(".")

        content = _content(text, above, self.texts)
        config = OmegaConf.create(content if content is not None else {})
        return ConfigResult(self.provider, f"{self.scheme()}://{self.path}", config, header)


@lru_cache(maxsize=128)
def _content(text: str, above: str, texts: frozenset[str]) -> Any:
    """Return what a file says that stands at a place of the config: the jobs of a sweep read the same."""

    def meant(place: str) -> Meant | None:
        full = f"{above}.{place}".strip(".").removeprefix("hydra.sweeper.params.")
        if full in texts:
            return Meant.TEXT
        if any(f"{full}.".startswith(f"{name}.") for name in _NAMES):
            return Meant.NAMES
        return Meant.NAMED if any(f"{full}.".startswith(f"{n}.") for n in _NAMED) else None

    return yaml.load(text, loader(get_yaml_loader(), meant))
