"""``python -m sentiment``, and the ``sentiment`` command."""

from __future__ import annotations

import gc
import sys
from types import FrameType

TYPE_CHECKING = False  # typing takes a moment
if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_INTERRUPTED = 130
_SOON = 0.01  # seconds
_PATIENCE = iter(range(300))


def main() -> None:
    """Run the command line as a process of its own: see `sentiment.cli.main`."""
    try:
        _open_streams()
        import signal  # within, as everything that takes a moment

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
            sys.unraisablehook = _dropped
        from sentiment.cli import main as run

        run()
    except KeyboardInterrupt:  # before the command line catches it
        _settle()
        sys.stderr.write("interrupted\n")
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        _settle()
        if end.code != _INTERRUPTED:
            # It is done: a Ctrl-C while the interpreter takes its leave would still kill it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            gc.freeze()  # looking for garbage in all that was imported would take half a second
        raise


def _open_streams() -> None:
    """Let standard streams that are closed lead nowhere: the next file would get the number of one.

    What a library or a child process says would then be written into that file.
    """
    import os

    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            place = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            os.set_inheritable(place, place == number)
            setattr(sys, name, open(place, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but soon instead of now where that would do harm.

    The lock of an import might stay for ever. Of an interrupt within a string that is run, as
    dataclasses are made, Python dies at the end, whoever has caught it.
    """
    code = None if frame is None else frame.f_code
    delicate = code is not None and (
        code.co_filename.startswith("<frozen importlib")
        or (code.co_filename, code.co_name) == ("<string>", "<module>")
    )
    if not delicate or not _soon():
        raise KeyboardInterrupt


def _dropped(unraisable: UnraisableHookArgs) -> None:
    """Raise soon again what Python drops within a finalizer or a callback ("Exception ignored in")."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt) or not _soon():
        sys.__unraisablehook__(unraisable)


def _soon() -> bool:
    """Interrupt a moment later; False where that cannot be, or was done too often."""
    import signal

    if not hasattr(signal, "setitimer") or next(_PATIENCE, None) is None:
        return False
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, _SOON)
    return True


def _settle() -> None:
    """Let no interrupt that is still to come again end a process that takes its leave."""
    sys.unraisablehook = sys.__unraisablehook__
    signal = sys.modules.get("signal")  # without it nothing is to come
    if signal is not None and hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


if __name__ == "__main__":
    main()
