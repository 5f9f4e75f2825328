"""What a challenger said of the texts that the champion answered: pairs in SQLite, bounded.

The service's shadow process writes; ``GET /model/shadow``, the metrics and
``sentiment models promote --from-shadow`` read. Texts are kept only where that was asked for, and
then only those of the strongest disagreements.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sentiment import sqlite
from sentiment.errors import DataError

WINDOW = 10_000
"""Pairs that the figures are of: the last so many."""
KEPT = 100_000
"""Pairs that are kept: an answer to one of them may come late."""
STRONGEST = 100
"""Disagreements that are told, and whose texts may be kept."""
TEXT_CHARACTERS = 1_000

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS pairs (
        number INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        fingerprint TEXT NOT NULL,
        champion TEXT NOT NULL,
        challenger TEXT NOT NULL,
        label_champion TEXT NOT NULL,
        label_challenger TEXT NOT NULL,
        score_champion REAL NOT NULL,
        score_challenger REAL NOT NULL,
        comparable INTEGER NOT NULL,
        truth TEXT,
        text TEXT,
        withheld_champion INTEGER NOT NULL DEFAULT 0,
        withheld_challenger INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX IF NOT EXISTS by_models ON pairs (champion, challenger, number)",
    "CREATE INDEX IF NOT EXISTS by_text ON pairs (fingerprint, champion)",
    "CREATE INDEX IF NOT EXISTS by_text_kept ON pairs (number) WHERE text IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS challenger (one INTEGER PRIMARY KEY CHECK (one = 1), document TEXT)",
    "CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)
# Of a file made before models could withhold an answer.
_ADDED = ("withheld_champion", "withheld_challenger")
# Writers have the lowest priority, so that one may hold the file while it has no processor.
_BUSY_SECONDS = 30.0
_GLANCE_SECONDS = 2.0
_DIGEST = 32  # hexadecimal digits that a prediction's id has of a digest


class Pair(NamedTuple):
    """One text, and what the two models say of it.

    Attributes
    ----------
    at : float
        Unix time of the champion's answer.
    fingerprint : str
        Of the text.
    champion, challenger : str
        Digests.
    label_champion, label_challenger : str
    score_champion, score_challenger : float
        The probability of one label that both know: with two labels the second, else the one
        that the champion gives.
    comparable : bool
        Whether both labels are names that both models have.
    withheld_champion, withheld_challenger : bool
        Whether the model is too unsure to give its label, by its own decision.
    text : str or None
    """

    at: float
    fingerprint: str
    champion: str
    challenger: str
    label_champion: str
    label_challenger: str
    score_champion: float
    score_challenger: float
    comparable: bool
    withheld_champion: bool = False
    withheld_challenger: bool = False
    text: str | None = None


@dataclass(frozen=True)
class Challenger:
    """The model in the shadow, as its process last said.

    Attributes
    ----------
    reference : str
        How it was asked for.
    status : str
        ``scoring``; ``waiting`` while there is no such model; ``refused`` when it cannot be
        loaded; ``failing`` when it cannot score. A service also says ``stopped`` of a process that
        ended and ``behind`` of one that does not answer.
    reason : str
        Of all but the first.
    digest, name, version : str or None
    labels : list of str
    """

    reference: str
    status: str
    reason: str = ""
    digest: str | None = None
    name: str | None = None
    version: str | None = None
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answered:
    """Texts whose true label is known, each counted once, and who was right.

    Attributes
    ----------
    n, both, only_champion, only_challenger : int
        A label that is withheld counts as the one that would be given.
    withheld_champion, withheld_challenger : int
        Of the n.
    """

    n: int = 0
    both: int = 0
    only_champion: int = 0
    only_challenger: int = 0
    withheld_champion: int = 0
    withheld_challenger: int = 0

    @property
    def champion(self) -> float | None:
        """The champion's accuracy on them."""
        return (self.both + self.only_champion) / self.n if self.n else None

    @property
    def challenger(self) -> float | None:
        """The challenger's accuracy on them."""
        return (self.both + self.only_challenger) / self.n if self.n else None


@dataclass(frozen=True)
class ShadowComparison:
    """What the last pairs of two models show.

    Attributes
    ----------
    n : int
        Pairs whose labels both models know.
    agreed : int
        Of them.
    since : float or None
        Unix time of the first.
    n_other : int
        Pairs with a label that only one of the models knows: not compared.
    labels : list of (str, str, int)
        The champion's label, the challenger's, and how often; withheld or not.
    withheld : dict of str to int
        ``champion`` and ``challenger``: of the n, texts whose label the model does not give.
    quantiles : dict of str to dict of str to float
        ``champion`` and ``challenger``: ``0.1``, ``0.5``, ``0.9`` of the scores.
    answered : Answered
    """

    n: int
    agreed: int
    since: float | None
    n_other: int
    labels: list[tuple[str, str, int]]
    withheld: dict[str, int]
    quantiles: dict[str, dict[str, float]]
    answered: Answered

    @property
    def agreement(self) -> float | None:
        """The share of pairs with the same label."""
        return self.agreed / self.n if self.n else None


def shadow_file(output_dir: Path) -> Path:
    """Return where the pairs of an output folder lie."""
    return output_dir / "shadow.db"


class ShadowStore:
    """Writes pairs; several processes may, each with an object of its own.

    A damaged file is put aside, under a name that tells when, and another is begun.

    Parameters
    ----------
    path : Path
        Made when it is missing, readable by its owner alone.
    keep_texts : bool
        Whether texts of the strongest disagreements are kept.

    Raises
    ------
    DataError
        It cannot be made or written.
    """

    def __init__(self, path: Path, *, keep_texts: bool = False) -> None:
        self.path = path
        self.keep_texts = keep_texts
        with _told(path):
            self._sqlite, self._file = sqlite.connect(path, _BUSY_SECONDS, _SCHEMA)
            with self._sqlite as database:
                # Processes that start together must not both add a column.
                database.execute("BEGIN IMMEDIATE")
                there = {row[1] for row in database.execute("PRAGMA table_info(pairs)")}
                for column in _ADDED:
                    if column not in there:
                        database.execute(
                            f"ALTER TABLE pairs ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0"
                        )
                if not keep_texts:
                    database.execute("UPDATE pairs SET text = NULL WHERE text IS NOT NULL")

    def is_gone(self) -> bool:
        """Tell whether the file was removed, replaced or written over: nobody reads it any more."""
        return sqlite.is_gone(self.path, self._file)

    def describe(self, challenger: Challenger) -> None:
        """Write down which challenger this is, and how it stands."""
        document = json.dumps(asdict(challenger), sort_keys=True)
        with _told(self.path), self._sqlite:
            self._sqlite.execute("INSERT OR REPLACE INTO challenger VALUES (1, ?)", (document,))

    def add(self, pairs: Sequence[Pair], n_failed: int = 0) -> None:
        """Write pairs, count them and the texts that could not be scored, forget the oldest."""
        rows = [
            pair._replace(
                champion=pair.champion[:_DIGEST],
                challenger=pair.challenger[:_DIGEST],
                text=pair.text[:TEXT_CHARACTERS]
                if self.keep_texts and pair.text and pair.label_champion != pair.label_challenger
                else None,
            )
            for pair in pairs
        ]
        with _told(self.path), self._sqlite as database:
            database.executemany(
                f"INSERT INTO pairs ({', '.join(Pair._fields)})"
                f" VALUES ({', '.join('?' * len(Pair._fields))})",
                rows,
            )
            for name, value in (("scored", len(rows)), ("failed", n_failed)):
                database.execute(
                    "INSERT INTO counts VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                    (name, value),
                )
            database.execute(
                "DELETE FROM pairs WHERE number <= (SELECT max(number) FROM pairs) - ?", (KEPT,)
            )
            if self.keep_texts:
                database.execute(
                    "UPDATE pairs SET text = NULL WHERE text IS NOT NULL AND number NOT IN"
                    " (SELECT number FROM pairs WHERE text IS NOT NULL"
                    " ORDER BY abs(score_champion - score_challenger) DESC LIMIT ?)",
                    (STRONGEST,),
                )

    def answer(self, fingerprint: str, champion: str, at: float, label: str) -> bool:
        """Note the true label of a text; whether a pair of it is here.

        Parameters
        ----------
        fingerprint : str
        champion : str
            Digest, or its first half, of the model that answered.
        at : float
            Unix time of that answer's id: the last pair before it is meant.
        label : str
        """
        with _told(self.path), self._sqlite as database:
            done = database.execute(
                "UPDATE pairs SET truth = ? WHERE number = (SELECT max(number) FROM pairs"
                " WHERE fingerprint = ? AND champion = ? AND at <= ?) AND truth IS NULL",
                (label, fingerprint, champion[:_DIGEST], at + 1.0),
            )
            return done.rowcount > 0

    def again(self) -> ShadowStore:
        """Close the file and open the one that has its name."""
        self.close()
        return ShadowStore(self.path, keep_texts=self.keep_texts)

    def close(self) -> None:
        """Close the file."""
        self._sqlite.close()


def read_challenger(path: Path) -> Challenger | None:
    """Return what the shadow process last said of its model; None when none ever ran here.

    Raises
    ------
    DataError
        The file is there and cannot be read.
    """
    for (document,) in _read(path, "SELECT document FROM challenger"):
        try:
            return Challenger(**json.loads(document))
        except (ValueError, TypeError):
            return None  # of another version
    return None


def read_counts(path: Path) -> dict[str, int]:
    """Return how many texts were ``scored`` and ``failed``, since the file was made."""
    return {"scored": 0, "failed": 0, **dict(_read(path, "SELECT name, value FROM counts"))}


def compare(path: Path, champion: str, challenger: str, last: int = WINDOW) -> ShadowComparison:
    """Compare what two models said of the same texts.

    Parameters
    ----------
    path : Path
        May be missing.
    champion, challenger : str
        Digests.
    last : int
        So many pairs at most. True labels are taken of all pairs that are kept.

    Raises
    ------
    DataError
        The file is there and cannot be read.
    """
    models = champion[:_DIGEST], challenger[:_DIGEST]
    where = "champion = ? AND challenger = ?"
    window = f"(SELECT * FROM pairs WHERE {where} ORDER BY number DESC LIMIT ?)"
    labels: list[tuple[str, str, int]] = []
    since: float | None = None
    n_other = 0
    withheld = {"champion": 0, "challenger": 0}
    for a, b, comparable, n, first, mine, theirs in _read(
        path,
        "SELECT label_champion, label_challenger, comparable, count(*), min(at),"
        f" sum(withheld_champion), sum(withheld_challenger) FROM {window}"
        " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2",
        (*models, last),
    ):
        since = first if since is None else min(since, first)
        if comparable:
            labels.append((a, b, n))
            withheld["champion"] += mine
            withheld["challenger"] += theirs
        else:
            n_other += n
    scores = list(
        _read(
            path,
            f"SELECT score_champion, score_challenger FROM {window} WHERE comparable",
            (*models, last),
        )
    )
    quantiles = {
        name: _quantiles(sorted(row[place] for row in scores))
        for place, name in enumerate(("champion", "challenger"))
        if scores
    }
    # A text that came twice is one observation.
    answered = [
        Answered(n, *(value or 0 for value in rest))
        for n, *rest in _read(
            path,
            "SELECT count(*), sum(a AND b), sum(a AND NOT b), sum(b AND NOT a), sum(x), sum(y) FROM"
            " (SELECT label_champion = truth AS a, label_challenger = truth AS b, max(number),"
            " withheld_champion AS x, withheld_challenger AS y"
            f" FROM pairs WHERE {where} AND truth IS NOT NULL AND comparable GROUP BY fingerprint)",
            models,
        )
    ]
    return ShadowComparison(
        n=sum(n for _, _, n in labels),
        agreed=sum(n for a, b, n in labels if a == b),
        since=since,
        n_other=n_other,
        labels=labels,
        withheld=withheld,
        quantiles=quantiles,
        answered=answered[0] if answered else Answered(),
    )


def strongest(path: Path, champion: str, challenger: str, n: int = 20) -> list[dict[str, Any]]:
    """Return the disagreements that are widest apart; with their texts where they are kept."""
    rows = _read(
        path,
        "SELECT at, fingerprint, label_champion, label_challenger, score_champion,"
        " score_challenger, truth, text FROM pairs"
        " WHERE champion = ? AND challenger = ? AND label_champion != label_challenger"
        " GROUP BY fingerprint ORDER BY abs(score_champion - score_challenger) DESC LIMIT ?",
        (champion[:_DIGEST], challenger[:_DIGEST], n),
    )
    names = (
        "at", "fingerprint", "champion", "challenger", "champion_score", "challenger_score",
        "true_label", "text",
    )  # fmt: skip
    return [dict(zip(names, row, strict=True)) for row in rows]


def _quantiles(values: list[float]) -> dict[str, float]:
    """Return three quantiles of sorted values."""
    return {f"{q:g}": values[round(q * (len(values) - 1))] for q in (0.1, 0.5, 0.9)}


def _read(path: Path, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
    with _told(path, "read"):
        yield from sqlite.read(path, query, values, _GLANCE_SECONDS)


@contextlib.contextmanager
def _told(path: Path, done: str = "written") -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: the shadow's pairs cannot be {done} ({reason})") from None
