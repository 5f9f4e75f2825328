"""From labelled text to a tuned, tracked, registered, served and monitored classifier.

>>> import sentiment
>>> scorer = sentiment.load("latest")                               # doctest: +SKIP
>>> scorer.predict(["a moving film", "two wasted hours"]).labels    # doctest: +SKIP
['positive', 'negative']

Nothing heavy is imported before it is used. What is public stands in ``__init__.pyi``, and
`sentiment.api` says what each does.
"""

from importlib import import_module

__version__ = "0.1.0"

# Where each public name lives; this file travels inside every logged model, where most are not.
_PUBLIC = {
    "load": "sentiment.api",
    "train": "sentiment.api",
    "sweep": "sentiment.api",
    "evaluate": "sentiment.api",
    "compose": "sentiment.config",
    "TextClassifier": "sentiment.estimator",
    "TrainResult": "sentiment.training.run",
    "Scorer": "sentiment.scorer",
    "SentimentError": "sentiment.errors",
}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sentiment' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
