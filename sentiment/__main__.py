"""``python -m sentiment``, and the ``sentiment`` command."""

import sys
from types import FrameType

_INTERRUPTED = 130
_SOON = 0.01  # seconds
_PATIENCE = iter(range(300))


def main() -> None:
    """Run the command line as a process of its own: see `sentiment.cli.main`."""
    try:
        import signal  # within, as everything that takes a moment

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
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


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but soon instead of within what imports or clears away.

    There Python drops it ("exception ignored in"), and may keep its lock of imports for ever.
    """
    import signal

    code = None if frame is None else frame.f_code
    within = code is not None and (
        code.co_filename.startswith("<frozen importlib") or code.co_name == "__del__"
    )
    if within and hasattr(signal, "setitimer") and next(_PATIENCE, None) is not None:
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
