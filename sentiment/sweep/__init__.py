"""Many trainings over a space of configs that share work, survive failure and end with an answer.

``sentiment.sweep(…)`` is a function of the Python API and this package has its name, so the package
can be called: Python puts an imported package in the place of any attribute of the same name.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Search over a space of configs; see `sentiment.api.sweep`."""
        from importlib import import_module

        found: dict[str, Any] = import_module("sentiment.api").sweep(*arguments, **options)
        return found


sys.modules[__name__].__class__ = _Callable
