"""Which format a file has: by its name, or by what the caller says."""

from __future__ import annotations

from pathlib import Path

from sentiment.errors import DataError, Parameter, UsageError, nearest
from sentiment.records.packed import name_inside
from sentiment.records.suffixes import COMPRESSIONS, FORMATS, SUFFIXES, Format, suffix_format

FASTTEXT = "__label__"
"""What lines of labelled text begin with."""

_SHEET = "a spreadsheet: save the sheet as CSV (UTF-8)"
_PACKED = "an archive: unpack it and name what lies in it"
_ARROW = "Arrow's format: write Parquet (polars and pandas do)"
_PICKLE = "a pickle, which can run code when it is read: write Parquet or CSV"
_DATABASE = "a database: write the rows of a query as CSV"
_FOREIGN = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), _SHEET),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), _PACKED),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), _ARROW),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), _PICKLE),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".duckdb"), _DATABASE),
    **dict.fromkeys((".avro", ".orc", ".h5", ".npz", ".npy"), "no text format: write Parquet or CSV"),
    **dict.fromkeys((".libsvm", ".svm", ".svmlight"), "numbers, not texts: give the texts"),
    **dict.fromkeys((".arff", ".sav", ".dta"), "a statistics program's format: write CSV"),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".xml", ".html"), "a document: write a table of texts"),
}  # fmt: skip


def find_format(path: str, given: str | None, *, otherwise: Format | None = None) -> Format:
    """Return the format that a file's name (less its compression) or the caller says.

    Raises
    ------
    UsageError
        Neither does.
    DataError
        It is an archive, and holds not one file of rows.
    """
    if given is not None:
        for known in FORMATS:
            if given == known:
                return known
        raise UsageError(
            f"format {given!r} is none of {', '.join(FORMATS)}{nearest(given, FORMATS)}"
        )
    if path == "-" and otherwise is not None:
        return otherwise
    found = _named(path)
    if found is None:
        known_suffixes = ", ".join(SUFFIXES)
        raise UsageError(
            f"{path}: its name does not tell the format ({known_suffixes}); give ",
            Parameter("format"),
            " or ",
            Parameter("output_format"),
            f": {', '.join(FORMATS)}",
        )
    return found


def has_format(path: str) -> bool:
    """Tell whether a file's name says its format."""
    try:
        return _named(path) is not None
    except DataError:  # an archive of several files
        return False


def check_readable(path: str) -> None:
    """Refuse a file that by its name holds no rows that are read, and say what to do.

    Raises
    ------
    UsageError
        It is a spreadsheet, an archive of several files or the like.
    """
    if told := foreign_name(path):
        raise UsageError(f"{path}: is {told}")


def foreign_name(path: str) -> str | None:
    """Return what a file is by its name, and what to do, where it holds no rows that are read."""
    name = Path(path)
    while name.suffix.lower() in COMPRESSIONS and name.stem:
        name = name.with_suffix("")
    return _FOREIGN.get(name.suffix.lower())


def _named(path: str) -> Format | None:
    if path.startswith(("http://", "https://")):  # what an address asks for is no name
        path = path.partition("?")[0].partition("#")[0]
    found = suffix_format(path)
    if found is None and path.lower().endswith(".zip") and Path(path).is_file():
        found = suffix_format(name_inside(path))
    return found
