"""``python -m sentiment``, and the ``sentiment`` command."""

import signal
import sys

_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run the command line as a process of its own: see `sentiment.cli.main`."""
    try:
        from sentiment.cli import main as run

        run()
    except KeyboardInterrupt:  # before the command line catches it
        sys.stderr.write("interrupted\n")
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if end.code != _INTERRUPTED:
            # It is done: a Ctrl-C while the interpreter takes its leave would still kill it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise


if __name__ == "__main__":
    main()
