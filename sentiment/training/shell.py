"""Hydra's own shell around a task: what gives multirun, launchers and ``--cfg``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig

from sentiment import config
from sentiment.errors import UsageError
from sentiment.files import no_space, writing
from sentiment.words import sort_words


def hydra_shell(arguments: Sequence[str], task: Callable[[DictConfig], Any]) -> None:
    """Run ``task`` under Hydra with these words of the command line.

    Hydra's own shell is what gives multirun, launchers and ``--cfg``; it reads ``sys.argv``
    and returns nothing, so results leave through ``task``.

    Raises
    ------
    UsageError
        If the config cannot be composed.
    """
    import hydra

    config.register()
    words = sort_words(arguments, config.Config)
    folder, other = config.places(words.config_dir, words.config_name or "config")
    options = words.options
    if words.config_dir is not None:
        options = [str(other) if word == words.config_dir else word for word in options]
    arguments = [*options, *words.overrides]
    given = [
        word.partition("=")[2].strip("'\"")
        for word in words.overrides
        if word.startswith("output_dir=")
    ]
    output_dir = (given or [os.environ.get("SENTIMENT_OUTPUT_DIR") or "outputs"])[-1]
    place = config.folder("output_dir", output_dir)  # Hydra makes it
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors out instead of printing and exiting
    argv, sys.argv = sys.argv, ["sentiment", *arguments]
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        with writing(place):
            hydra.main(version_base="1.3", config_path=str(folder), config_name="config")(task)()
    except Exception as error:
        # Hydra's "no such config" is an OSError too, but names no file.
        if isinstance(error, OSError) and error.filename is not None and no_space(error) is None:
            raise UsageError(
                f"{error.filename} cannot be written: {error.strerror}; give another folder: output_dir=PATH"
            ) from error
        raise config.explain_error(error, arguments) from error
    finally:
        sys.argv = argv
        # Hydra leaves its handlers, on this run's log file and this moment's stderr, to the process.
        for handler in [one for one in root.handlers if one not in handlers]:
            root.removeHandler(handler)
            handler.close()
