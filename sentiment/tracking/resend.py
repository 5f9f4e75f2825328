"""Runs that MLflow could not be told of are logged once it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sentiment.errors import SentimentError
from sentiment.files import locked
from sentiment.tracking.address import is_new, shown, tracking_uri
from sentiment.tracking.client import connect, find, reaching
from sentiment.tracking.run import Run
from sentiment.tracking.unsent import FOLDER, Journal, journals


@dataclass(frozen=True)
class Sent:
    """What became of a run that waited.

    Attributes
    ----------
    run_id : str
    status : str
        In MLflow: ``FINISHED``, ``KILLED``, …
    """

    run_id: str
    status: str


def resend(output_dir: Path) -> Iterator[Sent]:
    """Log the runs that wait, and yield each that is.

    May be called again: what was logged is not logged twice, but for the one call that was cut off.

    Raises
    ------
    SentimentError
        MLflow does not answer, or has no such run any more; what was not logged waits on.
    """
    if not journals(output_dir):
        return
    with locked(output_dir / FOLDER / ".lock"):
        waiting = journals(output_dir)
        if not waiting:
            return
        if is_new(output_dir):  # asking would make an empty database
            raise _elsewhere(waiting[0], tracking_uri(output_dir))
        client = connect(output_dir)
        for journal in waiting:
            with reaching(client.tracking_uri):
                if find(client.get_run, journal.run_id) is None:
                    raise _elsewhere(journal, client.tracking_uri)
                run = Run(client, journal.run_id)
                for kind, values in journal.calls():
                    run.send(kind, values)
                status = str(client.get_run(journal.run_id).info.status)
                if status == "RUNNING":  # its process was killed before it came to the end
                    status = "KILLED"
                    client.set_terminated(journal.run_id, status)
            journal.remove()
            yield Sent(journal.run_id, status)


def _elsewhere(journal: Journal, asked: str) -> SentimentError:
    return SentimentError(
        f"MLflow at {shown(asked)} has no run {journal.run_id}, which was begun at "
        f"{journal.address}: set MLFLOW_TRACKING_URI to that, or, if it is deleted there, give it "
        f"up: rm -r {journal.folder}"
    )
