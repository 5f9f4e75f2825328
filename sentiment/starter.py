"""A project to start from: a config of its own, an experiment, and what git leaves alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sentiment import groups
from sentiment.data.detection import Detected
from sentiment.errors import UsageError
from sentiment.files import write_whole

FOLDER = "conf"

CONFIG = """\
# yaml-language-server: $schema=schema.json
# What this project trains, over what sentiment ships: sentiment train --config-dir conf
# Every key: sentiment config --config-dir conf --keys
# Another value once: sentiment train --config-dir conf model.C=0.5
defaults:
  - schema
  - data: {source}
  - vectorizer: tfidf     # vectorizer=char | blend | …: sentiment config --options
  - model: nbsvm          # model=logreg | naive_bayes | …
  - _self_                # what stands below wins over these
  - experiment: null      # experiment=first: conf/experiment/first.yaml
  - search: null
  - override hydra/sweeper: sentiment
  - override hydra/job_logging: sentiment
  - override hydra/hydra_logging: sentiment

experiment_name: sentiment   # in MLflow; with another, `sentiment compare --experiment NAME`
output_dir: ${{env_or:SENTIMENT_OUTPUT_DIR,outputs}}
{data}
hydra:
  run:
    dir: ${{output_dir}}/runs/${{now:%Y%m%d-%H%M%S}}-${{random_hex:6}}
  sweep:
    dir: ${{output_dir}}/sweeps/${{now:%Y%m%d-%H%M%S}}-${{random_hex:6}}
    subdir: ${{hydra.job.num}}
  job:
    chdir: false
"""
DATA = """
data:
  name: {name}
  train: {file}
  text_column: {text}
  label_column: {label}
  # label_names: {{1: bad, 5: good}}   # other names for the labels
  # val_size: 0.1                     # of the rows, to choose by; test_size: 0.2 to judge by
"""
EXPERIMENT = """\
# @package _global_
# yaml-language-server: $schema=../schema.json
# Only what differs: sentiment train --config-dir conf experiment=first
run_name: first
vectorizer:
  ngram_range: [1, 2]    # single words and pairs: quicker than the usual three
model:
  C: 1.0
"""
IGNORED = """\
outputs/
.venv/
__pycache__/
"""


@dataclass(frozen=True)
class Started:
    """What was made.

    Attributes
    ----------
    folder : Path
    files : tuple of str
        Under it.
    commands : tuple of str
        To go on with, in that folder.
    """

    folder: Path
    files: tuple[str, ...]
    commands: tuple[str, ...]


def start(folder: Path, file: str | None = None, detected: Detected | None = None) -> Started:
    """Write a starter project.

    Parameters
    ----------
    folder : Path
        Made when it is not there; what lies in it stays.
    file : str, optional
        Labelled rows; without them the project trains on the embedded reviews.
    detected : Detected, optional
        What the file holds.

    Raises
    ------
    UsageError
        One of the files is there already; nothing is changed.
    """
    name = folder.resolve().name or "sentiment"
    data = ""
    if file is not None and detected is not None:
        data = DATA.format(
            name=_yaml(Path(file).name.split(".")[0] or name), file=_yaml(_seen_from(folder, file)),
            text=_yaml(detected.text), label=_yaml(detected.label),
        )  # fmt: skip
    source = "reviews" if file is None else "files"
    contents: Mapping[str, str] = {
        f"{FOLDER}/config.yaml": CONFIG.format(source=source, data=data),
        f"{FOLDER}/experiment/first.yaml": EXPERIMENT,
        f"{FOLDER}/{groups.SCHEMA}": (groups.CONFIG_DIR / groups.SCHEMA).read_text(
            encoding="utf-8"
        ),
        ".gitignore": IGNORED,
    }
    there = [path for path in contents if (folder / path).exists() and path != ".gitignore"]
    if there:
        raise UsageError(
            f"{folder / there[0]} is there already; nothing was changed: give another folder"
        )
    written = [path for path in contents if not (folder / path).exists()]
    for path in written:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / path, contents[path])
    words = f"--config-dir {FOLDER}"
    return Started(
        folder,
        tuple(written),
        (
            f"sentiment data {words}",
            f"sentiment train {words}",
            f"sentiment train {words} experiment=first",
            'sentiment predict "a text"',
        ),
    )


def _seen_from(folder: Path, file: str) -> str:
    """Return a path as it reads in the project's folder, where it lies inside; else whole."""
    whole, inside = Path(file).resolve(), folder.resolve()
    return str(whole.relative_to(inside) if whole.is_relative_to(inside) else whole)


def _yaml(text: str) -> str:
    """Return a text as YAML reads it back."""
    plain = text.replace("_", "").replace("-", "").replace("/", "").replace(".", "")
    usual = plain.isascii() and plain.isalpha() and text[0].isalpha()
    return text if usual and text.lower() not in _NOT_TEXT else json.dumps(text)


_NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
