"""What the registry says of a version: the model card of its run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sentiment.evaluation.card import CARD
from sentiment.tracking.client import download_run_file

if TYPE_CHECKING:
    from sentiment.tracking.types import MlflowClient

_MOST = 5000  # characters that MLflow's tables hold


def description_of(client: MlflowClient, run_id: str | None) -> str | None:
    """Return the card that a run logged, as much of it as a description holds.

    Parameters
    ----------
    client : MlflowClient
    run_id : str or None

    Returns
    -------
    str or None
        None of a run that logged none.
    """
    if run_id is None:
        return None
    with TemporaryDirectory(prefix="sentiment-") as scratch:
        file = download_run_file(client, run_id, CARD, Path(scratch))
        if file is None:
            return None
        card = file.read_text(encoding="utf-8")
    if len(card) <= _MOST:
        return card
    kept = card[: _MOST - 100]
    return f"{kept[: kept.rfind(chr(10))]}\n\n(The whole card: {CARD} of run {run_id})"
