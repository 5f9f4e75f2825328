"""The ``sentiment`` command: each command's file parses, calls one function and prints.

Nothing heavier than Typer is imported before a command runs, so that help and completion
answer at once; a command imports what it needs in its body.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from sentiment import __version__
from sentiment.cli import (
    cache,
    compare,
    config,
    data,
    doctor,
    evaluate,
    explain,
    feedback,
    models,
    monitor,
    predict,
    register,
    serve,
    sweep,
    train,
)
from sentiment.cli.overrides import HYDRA_SETTINGS
from sentiment.errors import SentimentError

# Typer may carry its own copy of click: take the base of its errors from what it exports.
_ClickException: Any = typer.BadParameter.__mro__[2]


def build_app() -> typer.Typer:
    """Assemble the command line from one module per command."""
    app = typer.Typer(
        name="sentiment",
        no_args_is_help=True,
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

    app.command("train", help=train.HELP, context_settings=HYDRA_SETTINGS)(train.train)
    app.command("sweep", help=sweep.HELP, context_settings=HYDRA_SETTINGS)(sweep.sweep)
    app.command("register", help=register.HELP)(register.register)
    app.command("predict")(predict.predict)
    app.command("serve")(serve.serve)
    app.command("evaluate", context_settings=evaluate.SETTINGS)(evaluate.evaluate)
    app.command("explain")(explain.explain)
    app.command("compare", help=compare.HELP)(compare.compare)
    app.add_typer(models.app, name="models")
    app.command("monitor")(monitor.monitor)
    app.add_typer(feedback.app, name="feedback")
    app.add_typer(cache.app, name="cache")
    app.command("config", help=config.HELP, context_settings=HYDRA_SETTINGS)(config.config)
    app.command("data", help=data.HELP, context_settings=HYDRA_SETTINGS)(data.data)
    app.command("doctor")(doctor.doctor)
    return app


def main() -> None:
    """Run the command line and turn every outcome into an exit code.

    0 done, 1 failed, 2 wrong usage, 130 interrupted. Errors are one line on stderr;
    ``--debug`` shows the traceback instead.
    """
    arguments = sys.argv[1:]
    # What follows -- is text.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    arguments = [word for word in arguments[:end] if word != "--debug"] + arguments[end:]
    try:
        result = build_app()(args=arguments, prog_name="sentiment", standalone_mode=False)
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise
        # The reader (head, less) went away, which Typer would call a failure. What the
        # interpreter flushes last goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except typer.Exit as stop:
        code = stop.exit_code
    except _ClickException as wrong:
        wrong.show()
        code = wrong.exit_code
    except SentimentError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        code = 128 + signal.SIGINT
    except Exception as error:
        if debug:
            raise
        text = " ".join(str(error).split()) or "no message"
        print(
            f"error: {type(error).__name__}: {text} (--debug shows the traceback)", file=sys.stderr
        )
        code = 1
    sys.exit(code)
