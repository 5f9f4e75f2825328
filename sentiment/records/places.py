"""Where rows lie: a file, several, a folder, a glob, partitions; on this machine or behind an address.

One vocabulary for every command. Addresses (``s3://``, ``gs://``, ``abfs://``, ``https://``, ``hf://``)
are read and written through fsspec, which finds credentials in the environment variables that each
store's own tools read.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, TypeVar

from sentiment.errors import DataError, MissingExtraError, UsageError, nearest
from sentiment.files import is_pipe
from sentiment.records.formats import has_format

T = TypeVar("T")

_MAGIC = re.compile(r"[*?\[]")
_NULL = "__HIVE_DEFAULT_PARTITION__"
_READ_AHEAD = 8 << 20


class _Store(NamedTuple):
    """A kind of address.

    Attributes
    ----------
    module : str
        What fsspec needs for it.
    extra : str
        Of this distribution, which brings that; empty where every full install has it.
    variables : str
        Where credentials come from.
    """

    module: str
    extra: str
    variables: str


_S3 = _Store("s3fs", "s3", "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL")
_GS = _Store("gcsfs", "gcs", "GOOGLE_APPLICATION_CREDENTIALS")
_ABFS = _Store("adlfs", "azure", "AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_NAME")
_HTTP = _Store("aiohttp", "", "no variable: the address itself must grant it")
_STORES = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GS,
    "gcs": _GS,
    "abfs": _ABFS,
    "abfss": _ABFS,
    "az": _ABFS,
    "http": _HTTP,
    "https": _HTTP,
    "hf": _Store("huggingface_hub", "", "HF_TOKEN"),
}


@dataclass(frozen=True)
class Place:
    """A file of rows.

    Attributes
    ----------
    path : str
        On this machine, or an address; ``-`` is standard input.
    columns : dict of str to (str or None)
        What folders such as ``year=2026`` say of all its rows.
    """

    path: str
    columns: dict[str, str | None] = field(default_factory=dict)


def is_remote(path: str) -> bool:
    """Tell whether a path is an address."""
    return "://" in path and not path.startswith("file://")


def find(where: str, *, any_name: bool = False) -> list[Place]:
    """Return the files that are meant, in the order in which their rows are read.

    Parameters
    ----------
    where : str
        A file, a folder (with all below it), a glob, or several of these with commas between.
        What begins with a dot or an underscore is left out of folders, as Hadoop's habit is.
    any_name : bool
        Whether files of a folder count whose names tell no format.

    Raises
    ------
    DataError
        There is no such file, or a folder holds none.
    """
    if where == "-":
        return [Place("-")]
    return [place for name in sources(where) for place in _find(name, any_name=any_name)]


def files_named(values: Iterable[object]) -> list[str]:
    """Return the files of this machine that values name; all other values are passed over."""
    found = []
    for name in (name for value in values for name in sources(str(value))):
        if not is_remote(name):
            with contextlib.suppress(DataError, OSError, ValueError):
                found += [place.path for place in _find(name, any_name=True)]
    return found


def sources(where: str) -> list[str]:
    """Return what stands between the commas of what is meant: files, folders, globs, addresses."""
    names = [where]
    if "," in where and not (is_remote(where) or Path(where).exists()):
        inside = where[1:-1] if where[:1] == "[" and where[-1:] == "]" else where
        names = [name.strip().strip("'\"") for name in inside.split(",")]
    elif "," in where and is_remote(where):
        names = [name.strip() for name in where.split(",")]
    return [name for name in names if name]


def _find(name: str, *, any_name: bool) -> list[Place]:
    if is_remote(name):
        return _find_remote(name, any_name=any_name)
    path = name.removeprefix("file://")
    path = os.path.expanduser(path)  # noqa: PTH111 - which leaves ~name of nobody as it is
    if Path(path).is_dir():
        below = (str(p) for p in Path(path).rglob("*") if p.is_file())
        return _inside(name, path, below, any_name=any_name)
    if (magic := _MAGIC.search(path)) and not Path(path).exists():
        root, slash, _ = path[: magic.start()].rpartition("/")
        matched = list(Path(root + slash or ".").glob(path[len(root + slash) :]))
        found = [str(p) for p in matched if p.is_file()]
        if not found:  # folders are meant
            found = [str(p) for folder in matched for p in folder.rglob("*") if p.is_file()]
        if not found:
            raise DataError(f"{name}: no file matches")
        return _inside(name, root, found, any_name=True)
    return [Place(path)]


def _find_remote(name: str, *, any_name: bool) -> list[Place]:
    protocol = name.partition("://")[0]
    if protocol in ("http", "https"):
        return [Place(name)]

    def look() -> list[Place]:
        system, path = _system(name)
        whole = system.unstrip_protocol
        if _MAGIC.search(path):
            root = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
            found = [whole(p) for p in system.glob(path) if system.isfile(p)]
            if not found:
                raise DataError(f"{name}: no file matches")
            return _inside(name, whole(root), found, any_name=True)
        if not name.endswith("/") and system.isfile(path):
            return [Place(name)]
        below = [whole(p) for p in system.find(path)]
        if not below:
            beside: list[str] = []
            parent = path.rpartition("/")[0]
            if "/" in path and system.isdir(parent):
                beside = [str(p).rpartition("/")[2] for p in system.ls(parent, detail=False)]
            raise DataError(f"no such file: {name}{nearest(path.rpartition('/')[2], beside)}")
        return _inside(name, whole(path.rstrip("/")), below, any_name=any_name)

    return reached(name, look)


def _inside(name: str, root: str, found: Iterable[str], *, any_name: bool) -> list[Place]:
    places = []
    for path in sorted(found):
        parts = PurePosixPath(path[len(root) :].lstrip("/")).parts
        if any(part.startswith((".", "_")) for part in parts):
            continue
        if not any_name and not has_format(path):
            continue
        places.append(Place(path, _partitions(parts[:-1])))
    if not places:
        raise DataError(
            f"{name}: holds no file of rows (.csv, .tsv, .jsonl, .parquet, .txt, also compressed)"
        )
    return places


def _partitions(folders: Sequence[str]) -> dict[str, str | None]:
    columns: dict[str, str | None] = {}
    for folder in folders:
        key, equals, value = folder.partition("=")
        if equals and key:
            columns[key] = None if value == _NULL else urllib.parse.unquote(value)
    return columns


def plain_name(path: str) -> str:
    """Return the name of a file, less what an address asks for behind it."""
    if is_remote(path) and path.startswith("http"):
        path = urllib.parse.urlsplit(path).path
    return path.rpartition("/")[2] if is_remote(path) else Path(path).name


def open_read(path: str) -> tuple[IO[bytes], int]:
    """Open a file or an address; return it with its size in bytes (0 where that is not known).

    Raises
    ------
    DataError
        It cannot be read.
    """
    if is_remote(path):

        def connect() -> tuple[IO[bytes], int]:
            system, inner = _system(path)
            file = system.open(inner, "rb", block_size=_READ_AHEAD, cache_type="readahead")
            return file, int(getattr(file, "size", None) or 0)

        return reached(path, connect)
    file = Path(path)
    if file.is_dir():
        raise DataError(f"{path}: is a directory; give a file")
    try:
        stream = file.open("rb")
        return stream, os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        raise absent(path) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def check_file(path: str) -> None:
    """Refuse a pipe where rows are read more than once.

    Raises
    ------
    DataError
        It is one.
    """
    if is_pipe(path):
        raise DataError(f"{path}: is a pipe, which is read once: write its rows to a file")


def absent(path: str) -> DataError:
    """Return what is said of a file of this machine that is not there, with the nearest that is."""
    file = Path(path)
    if file.is_symlink():
        return DataError(f"no such file: {path} is a link to {file.readlink()}, which is not there")
    siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
    return DataError(f"no such file: {path}{nearest(file.name, siblings)}")


def version(path: str) -> str:
    """Return what tells whether a file is still the one that it was; empty where nothing does."""
    if path == "-":
        return ""
    if is_remote(path):

        def ask() -> str:
            system, inner = _system(path)
            system.invalidate_cache()
            told = system.info(inner)
            marks = ("size", "ETag", "etag", "mtime", "LastModified", "generation", "last_modified")
            return " ".join(str(told[mark]) for mark in marks if told.get(mark) is not None)

        return reached(path, ask)
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    if is_pipe(path):  # which has no version
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def exists(path: str) -> bool:
    """Tell whether something stands at an address, or at a path."""
    if not is_remote(path):
        return Path(path).exists()

    def ask() -> bool:
        system, inner = _system(path)
        system.invalidate_cache()
        return bool(system.exists(inner))

    return reached(path, ask)


def names_in(folder: str) -> list[str]:
    """Return the names of what lies in a folder or at an address; none where there is no such place."""
    if not is_remote(folder):
        return [p.name for p in Path(folder).iterdir()] if Path(folder).is_dir() else []

    def ask() -> list[str]:
        system, inner = _system(folder)
        system.invalidate_cache()
        if not system.isdir(inner):
            return []
        return [str(p).rpartition("/")[2] for p in system.ls(inner, detail=False)]

    return reached(folder, ask)


def remove(path: str) -> None:
    """Remove a file of this machine or at an address, where it is.

    Raises
    ------
    DataError
        The store refuses.
    """
    if not is_remote(path):
        Path(path).unlink(missing_ok=True)
        return

    def ask() -> None:
        system, inner = _system(path)
        if system.exists(inner):
            system.rm_file(inner)

    reached(path, ask)


def upload(file: Path, path: str) -> None:
    """Put a finished file at an address: object stores show it whole or not at all.

    Raises
    ------
    DataError
        The store refuses.
    """

    def put() -> None:
        system, inner = _system(path)
        system.put_file(str(file), inner)

    reached(path, put)


def check_writable(path: str) -> None:
    """Refuse an address that cannot be written, before work.

    Raises
    ------
    UsageError
        Its kind is only read.
    """
    protocol = path.partition("://")[0]
    if protocol in ("http", "https"):
        raise UsageError(
            f"{path}: {protocol} is read only; write to a file, s3://, gs:// or abfs://"
        )
    _store(path)


def reached(path: str, function: Callable[[], T]) -> T:
    """Call what asks a store, and say in one line what it refuses."""
    with refusals(path):
        return function()


@contextmanager
def refusals(path: str) -> Iterator[None]:
    """Turn what a store raises into one line that names the address and the variables."""
    try:
        yield
    except (DataError, UsageError):
        raise
    except Exception as error:
        reason: BaseException = error
        if isinstance(error, FileNotFoundError):
            # What keeps fsspec from a web server is the cause of such an error, too.
            if error.__cause__ is None or getattr(error.__cause__, "status", None) == 404:
                raise DataError(f"no such file: {path}") from None
            reason = error.__cause__
        store = _STORES.get(path.partition("://")[0])
        if store is None:
            raise
        said = " ".join(str(reason).split())[:200] or type(reason).__name__
        raise DataError(
            f"{path}: the store refuses ({said}); credentials come from {store.variables}"
        ) from error


def _store(path: str) -> _Store:
    protocol = path.partition("://")[0]
    store = _STORES.get(protocol)
    if store is None:
        raise UsageError(
            f"{path}: no kind of address is called {protocol!r}{nearest(protocol, _STORES)} "
            f"(there are: {', '.join(_STORES)})"
        )
    if importlib.util.find_spec(store.module) is None:
        if not store.extra:
            raise UsageError(f"{protocol}:// needs the package {store.module}: pip install it")
        raise MissingExtraError(f"{protocol}://", store.extra)
    return store


def _system(path: str) -> tuple[Any, str]:
    """Return the file system behind an address, and the path there."""
    store = _store(path)
    import fsspec

    protocol = path.partition("://")[0]
    options: dict[str, Any] = {}
    if store is _S3:
        # A store that does not answer is said in seconds.
        options["config_kwargs"] = {"connect_timeout": 5, "retries": {"max_attempts": 2}}
    system = fsspec.filesystem(protocol, **options)
    return system, system._strip_protocol(path)
