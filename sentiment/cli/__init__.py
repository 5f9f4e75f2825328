"""The ``sentiment`` command: each command's file parses, calls one function and prints.

A command's file is imported when that command is asked for, and nothing heavier than Typer
before it runs, so that help, completion and short commands answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from sentiment import __version__
from sentiment.errors import Parameter, SentimentError
from sentiment.files import no_space

# Typer may carry its own copy of click: take the base of its errors from what it exports.
_ClickException: Any = typer.BadParameter.__mro__[2]

COMMANDS = {
    "init": "Write a starter project for your data.",
    "train": "Train, evaluate, log and save one model.",
    "sweep": "Train with several configs, rank them, name the best.",
    "register": "Register a run's model, and promote it through a gate.",
    "retrain": "Train on what is new; promote through the gate.",
    "predict": "Classify texts, or every row of a file.",
    "serve": "Serve predictions over HTTP: a page at /, the API at /docs.",
    "evaluate": "Measure a model on a labelled file.",
    "explain": "Show what each n-gram of a text adds to the score.",
    "compare": "Compare runs: parameters, metrics and a paired test.",
    "runs": "Log the runs that wait for an MLflow that was away.",
    "models": "List, show, promote, roll back, pull and prune models.",
    "monitor": "Tell whether texts have drifted from the training texts.",
    "label": "Label text on a page; the next texts are those that teach most.",
    "feedback": "Use what people said the right labels were.",
    "cache": "See and clear the features that runs keep for each other.",
    "config": "Print the config that the same words would train with.",
    "data": "Show what a training would read.",
    "completion": "Print the script that lets a shell complete.",
    "curve": "Show how accuracy grows with the number of labels.",
    "doctor": "Check packages, extras, tools, models and settings.",
}
"""Each command with its line in the help. ``sentiment.cli.NAME`` holds a function of that name,
or a Typer ``app``, and perhaps its ``HELP`` and ``SETTINGS``."""


def build_app(*wanted: str) -> typer.Typer:
    """Assemble the command line from one module per command.

    Parameters
    ----------
    *wanted : str
        The commands to import; the others are known by name alone. All, when none is given.
    """
    app = typer.Typer(
        name="sentiment",
        no_args_is_help=True,
        add_completion=False,  # `sentiment completion`: Typer's scripts stop at a word's =
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, help="Print the version and stop.")
        ] = False,
        debug: Annotated[
            bool, typer.Option("--debug", help="Show tracebacks (may stand after any command).")
        ] = False,
    ) -> None:
        """Train, sweep, register, predict with, serve and monitor text classifiers."""
        if version:
            typer.echo(f"sentiment {__version__}")
            raise typer.Exit

    for name, summary in COMMANDS.items():
        if wanted and name not in wanted:
            app.command(name, short_help=summary)(_not_imported)
            continue
        module = import_module(f"sentiment.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, short_help=summary)
        else:
            app.command(
                name,
                help=getattr(module, "HELP", None),
                short_help=summary,
                context_settings=getattr(module, "SETTINGS", None),
            )(getattr(module, name))
    return app


_INTERRUPTED = 128 + signal.SIGINT


def _not_imported() -> None:
    raise AssertionError("a command that was not asked for cannot run")


# What these are told are keys of the config.
_HYDRA_COMMANDS = (("train",), ("sweep",), ("data",), ("curve",), ("retrain",))


def _wanted(arguments: list[str]) -> tuple[str, ...]:
    """Return what `build_app` needs for these words of the command line."""
    # The options before a command take no value. Where none is named, help or an error follows.
    first = next((word for word in arguments if not word.startswith("-")), "")
    return (first,)


def _stands() -> bool:
    """Tell whether there is a working folder."""
    try:
        os.getcwd()  # noqa: PTH109 - what it raises is asked for
    except FileNotFoundError:
        return False
    return True


def main() -> None:
    """Run the command line and turn every outcome into an exit code.

    0 done, 1 failed, 2 wrong usage, 130 interrupted. Errors are one line on stderr;
    ``--debug`` shows the traceback instead.
    """
    if "_SENTIMENT_COMPLETE" in os.environ:  # a shell asks
        from sentiment.cli.completion import answers

        print(*answers(os.environ["_SENTIMENT_COMPLETE"], build_app), sep="\n")
        sys.exit(0)
    if os.environ.get("COLUMNS", "").strip("0") == "":
        os.environ.pop("COLUMNS", None)  # a width that is not known: nothing would be shown in it
    arguments = sys.argv[1:]
    # What follows -- is text.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    arguments = [word for word in arguments[:end] if word != "--debug"] + arguments[end:]
    try:
        code = _run(arguments)
    except typer.Exit as stop:
        code = stop.exit_code
    except _ClickException as wrong:
        wrong.show()
        if "output_dir=" in wrong.format_message():
            print("Here it is an option: --output-dir PATH", file=sys.stderr)
        code = wrong.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        code = _INTERRUPTED
    except Exception as error:
        if debug:
            raise
        code, text = _told(error, arguments)
        print(f"error: {text}", file=sys.stderr)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        result = build_app(*_wanted(arguments))(
            args=arguments, prog_name="sentiment", standalone_mode=False
        )
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
        if code == _INTERRUPTED:  # Typer has caught it
            print("interrupted", file=sys.stderr)
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise
        # The reader (head, less) went away, which Typer would call a failure. What the
        # interpreter flushes last goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    return code


def _told(error: Exception, arguments: list[str]) -> tuple[int, str]:
    """Return the exit code of an error, and the one line that is said of it."""
    if isinstance(error, SentimentError):
        hydra = _wanted(arguments)[:1] in _HYDRA_COMMANDS
        words = error.shown(Parameter.as_override if hydra else Parameter.as_option)
        return error.exit_code, "; ".join(filter(None, (words, no_space(error))))
    if isinstance(error, FileNotFoundError) and not _stands():
        return 2, "the folder that this was started in is gone: go to one that is there"
    text = " ".join(str(error).split()) or "no message"
    return 1, (no_space(error) or f"{type(error).__name__}: {text} (--debug shows the traceback)")
