"""What MLflow could not be told of a run: kept in the output folder until it can.

A server that goes away in the middle of a training costs the record nothing but time: from the first
call that fails on, what would be logged is written to ``unsent/RUN_ID`` and sent in the same order
later.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentiment.files import write_whole
from sentiment.tracking import origin

FOLDER = "unsent"
_CALLS, _SENT, _PROCESS, _ADDRESS = "calls.jsonl", "sent", "process", "address"
FILES = "files"
"""The key of a call that says where its files are."""


class Journal:
    """The calls of one run that wait, in the order they were made.

    Parameters
    ----------
    folder : Path
        ``<output_dir>/unsent/<run_id>``; made with the first call.
    address : str, optional
        Of MLflow, as it may be shown.
    """

    def __init__(self, folder: Path, address: str | None = None) -> None:
        self.folder = folder
        self._address = address
        self.run_id = folder.name

    def add(self, kind: str, values: dict[str, Any]) -> None:
        """Keep a call; a path among its values is kept with all that lies there.

        Raises
        ------
        OSError
            It cannot be written.
        """
        calls = self.folder / _CALLS
        if not calls.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / _PROCESS, origin.process_identity())
            write_whole(self.folder / _ADDRESS, self._address or "an address that was not noted")
        place = values.get(FILES)
        if place is not None:
            # Under its own name, which is that of the artifact.
            kept = Path(f"{FILES}-{len(list(self.folder.iterdir()))}", Path(place).name)
            _copy(Path(place), self.folder / kept)
            values = {**values, FILES: str(kept)}
        with calls.open("a", encoding="utf-8") as file:
            file.write(json.dumps([kind, values]) + "\n")

    @property
    def address(self) -> str:
        """Where the run was begun."""
        return (self.folder / _ADDRESS).read_text(encoding="utf-8")

    def calls(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what was not sent yet; each call is done once the next is asked for."""
        lines = (self.folder / _CALLS).read_text(encoding="utf-8").splitlines()
        sent = self.folder / _SENT
        done = int(sent.read_text()) if sent.exists() else 0
        for number, line in enumerate(lines[done:], done + 1):
            kind, values = json.loads(line)
            if FILES in values:
                values[FILES] = self.folder / values[FILES]
            yield kind, values
            write_whole(sent, str(number))

    def is_written(self) -> bool:
        """Whether the process that writes it still lives."""
        try:
            return not origin.is_gone((self.folder / _PROCESS).read_text())
        except (OSError, ValueError):
            return False

    def remove(self) -> None:
        """Remove it, where there is one."""
        shutil.rmtree(self.folder, ignore_errors=True)


def journals(output_dir: Path) -> list[Journal]:
    """Return what waits in an output folder, the oldest first; not what is still written."""
    folder = output_dir / FOLDER
    found = [path.parent for path in folder.glob(f"*/{_CALLS}")] if folder.is_dir() else []
    waiting = [Journal(path) for path in sorted(found, key=lambda path: path.stat().st_mtime)]
    return [
        journal
        for journal in waiting
        if not journal.is_written()
        or (journal.folder / _PROCESS).read_text() == origin.process_identity()
    ]


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder; models are large and never changed, so files are linked."""

    def link(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:
            shutil.copyfile(one, other)
        return other

    target.parent.mkdir()
    if source.is_dir():
        shutil.copytree(source, target, copy_function=link)
    else:
        link(str(source), str(target))
