"""Sweeps (being written)."""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Sweep(Sweeper):
    def __init__(self, params: Any = None) -> None:
        self.params = params

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None: ...

    def sweep(self, arguments: list[str]) -> Any:
        raise NotImplementedError
