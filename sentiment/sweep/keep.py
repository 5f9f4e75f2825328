"""Which models of a sweep stay on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sentiment import store
from sentiment.sweep.board import Board


def remove_models(board: Board, output_dir: Path) -> None:
    """Remove stored models of jobs that are not the best; MLflow keeps their scorer.

    Parameters
    ----------
    board : Board
    output_dir : Path
        What a pointer names stays.
    """
    best = board.best()
    keep = {best.status.digest} if best else set()
    for which in store.pointer_names(output_dir):
        keep.add((store.read_pointer(output_dir, which) or {}).get("digest"))
    for entry in board.entries:
        status = entry.status
        if status.model is None or status.digest in keep:
            continue
        place = Path(status.model)
        # A model that another run made first is not this job's to remove.
        if _run_of(place) == status.run_id:
            shutil.rmtree(place, ignore_errors=True)
        status.model = None


def _run_of(place: Path) -> str | None:
    try:
        content = json.loads((place / store.INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(content.get("run_id"))
