"""Where runs are kept: one answer for every command, and how an address is shown."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from sentiment.errors import UsageError
from sentiment.files import write_whole

_REMEMBERED = "tracking.json"
# A user, and a password that may hold anything: what follows a colon and is no port.
_USER = re.compile(
    r"(?<=://)(?:[^/@\s'\"]*:(?!\d+(?:[/?#]|$))[^\s'\"]*|[^/@\s'\"]*)@"
    r"|(?<=%3A%2F%2F)[^\s/'\"]*?%40",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"(?<=[?&])((?:ssl)?(?:user(?:name)?|password|passwd|pwd|token))=[^&\s'\"]+", re.IGNORECASE
)


def tracking_uri(output_dir: Path) -> str:
    """Return where runs are kept.

    ``MLFLOW_TRACKING_URI``, else the ``tracking.uri`` that the last training under this folder was
    given, else a SQLite database in the folder.

    Raises
    ------
    UsageError
        The folder's name cannot stand in the address of a SQLite database.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return given or _remembered(output_dir) or f"sqlite:///{database(output_dir)}"


def database(output_dir: Path) -> Path:
    """Return the SQLite database of a folder, which may not exist yet."""
    path = output_dir.resolve() / "mlflow.db"
    for character in "?#":
        if character in str(path):
            raise UsageError(
                f"output_dir={output_dir}: {character!r} cannot stand in the address of a SQLite "
                "database: choose another folder, or set MLFLOW_TRACKING_URI"
            )
    return path


def local_database(uri: str) -> Path | None:
    """Return the file of a SQLite address, or None for any other and for one in memory."""
    name = uri.removeprefix("sqlite:///").partition("?")[0]
    if not uri.startswith("sqlite:///") or name in ("", ":memory:") or name.startswith("file:"):
        return None
    return Path(name)


def is_new(output_dir: Path) -> bool:
    """Tell whether runs would go to a database file that does not exist yet."""
    file = local_database(tracking_uri(output_dir))
    return file is not None and not file.exists()


def remember(output_dir: Path, uri: str | None) -> None:
    """Keep what a training was told of where its runs go, so that every later command asks there.

    Parameters
    ----------
    output_dir : Path
    uri : str or None
        ``tracking.uri``; None for the database in ``output_dir``.

    Raises
    ------
    UsageError
        It holds a password, which would be logged with every run.
    """
    if uri is not None and shown(uri) != uri:
        raise UsageError(
            f"tracking.uri={shown(uri)} holds a user or password, which would be logged with the "
            "run: set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    file = output_dir / _REMEMBERED
    if uri is None:
        file.unlink(missing_ok=True)
    elif _remembered(output_dir) != uri:
        write_whole(file, json.dumps({"uri": uri}) + "\n")


def _remembered(output_dir: Path) -> str | None:
    try:
        document = json.loads((output_dir / _REMEMBERED).read_bytes())
    except (OSError, ValueError):
        return None
    uri = document.get("uri") if isinstance(document, dict) else None
    return uri if isinstance(uri, str) and uri else None


def shown(text: str) -> str:
    """Return an address, or a text that holds addresses, without users and passwords."""
    return _SECRET.sub(r"\1=***", _USER.sub("***@", text))
