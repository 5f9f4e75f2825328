"""Keep the local champion at what a registry's reference names, cheaply and for long.

Importing MLflow takes seconds and hundreds of megabytes, so the process that watches a
tracking server does not: it asks one small question over HTTP, and lets a child process that
ends again do the work when the answer changes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import store
from sentiment.errors import ModelError, SentimentError, UsageError
from sentiment.parent import bound_environment
from sentiment.tracking.address import tracking_uri
from sentiment.tracking.tags import DIGEST

if TYPE_CHECKING:
    import ssl

    from sentiment.registry.registry import Registry

_TIMEOUT = 10.0  # seconds that a server may take to answer
_SHORTEST_PAUSE = 0.05  # seconds between two questions
_LONGEST_PAUSE = 300.0  # seconds between attempts at a model that is refused
# Ways to sign in that only MLflow's own client knows.
_ONLY_MLFLOW = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_WORKSPACE")


@dataclass(frozen=True)
class Pulled:
    """Where the local champion (or another ``pointer``) stands after a pull.

    ``moved`` tells whether the pointer moved; ``stale`` why the registry could not be asked,
    so that the model of an earlier pull stays.
    """

    reference: str
    digest: str
    name: str | None
    version: str | None
    run_id: str | None
    set_at: str
    age_seconds: float
    moved: bool
    stale: str | None = None
    pointer: str = "champion"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain containers."""
        return asdict(self)

    def __str__(self) -> str:
        named = f"{self.name} version {self.version}" if self.name else f"run {self.run_id}"
        model = f"{named} ({self.digest[:12]})"
        if self.stale:
            return f"{self.stale}; keeping {model}, set {age(self.age_seconds)} ago"
        if self.moved:
            return f"{self.reference}: the {self.pointer} is now {model}"
        return f"{self.reference}: the {self.pointer} is {model} already, set {age(self.age_seconds)} ago"


def pull(reference: str, output_dir: Path, pointer: str = "champion") -> Pulled:
    """Fetch what a reference names and let a local pointer, the champion, point to it.

    When the registry cannot be asked, the model of an earlier pull of the same reference stays.

    Parameters
    ----------
    reference : str
        ``models:/<name>@<alias>``, ``models:/<name>/<version>`` or ``runs:/<run_id>``.
    output_dir : Path
    pointer : str
        Another alias than the champion, such as one that is served in the shadow.

    Raises
    ------
    UsageError
        If there is no such thing.
    ModelError
        If what was fetched is refused; the pointer stays.
    SentimentError
        If the registry does not answer and nothing was pulled before.
    """
    from sentiment.registry.registry import fetch

    try:
        stored = fetch(reference, output_dir)
    except (UsageError, ModelError):
        raise
    except SentimentError as error:
        kept = cached(reference, output_dir, str(error), pointer)
        if kept is None:
            raise
        return kept
    before = store.read_pointer(output_dir, pointer)
    wanted = {
        "digest": stored.digest,
        "name": stored.name,
        "version": stored.version,
        "source": reference,
    }
    moved = before is None or any(before[key] != value for key, value in wanted.items())
    if moved:
        store.set_pointer(
            output_dir,
            pointer,
            stored.digest,
            name=stored.name,
            version=stored.version,
            run_id=stored.run_id,
            source=reference,
        )
    found = cached(reference, output_dir, None, pointer)
    if found is None:
        raise ModelError(f"{reference}: the model was removed while it was pulled; pull it again")
    return Pulled(**{**found.to_dict(), "moved": moved})


def cached(
    reference: str, output_dir: Path, stale: str | None = None, which: str = "champion"
) -> Pulled | None:
    """Return what an earlier pull of this reference set, if its model is there."""
    pointer = store.read_pointer(output_dir, which)
    if pointer is None or pointer["source"] != reference:
        return None
    if not store.is_stored(pointer["digest"], output_dir):
        return None
    set_at = datetime.fromisoformat(pointer["set_at"])
    return Pulled(
        reference=reference,
        pointer=which,
        digest=pointer["digest"],
        name=pointer["name"],
        version=pointer["version"],
        run_id=pointer["run_id"],
        set_at=pointer["set_at"],
        age_seconds=max(0.0, (datetime.now(UTC) - set_at).total_seconds()),
        moved=False,
        stale=stale,
    )


class Watch:
    """Pulls whenever a reference names another model, until stopped.

    Parameters
    ----------
    reference : str
    output_dir : Path
    seconds : float
        Between two questions; a tenth more or less, so that many watchers do not ask at once.
    report : callable
        Called with every `Pulled` that moved the pointer.
    say : callable
        Called with one line whenever something changes that is no move.
    pointer : str
        What follows.
    """

    def __init__(
        self,
        reference: str,
        output_dir: Path,
        seconds: float,
        *,
        report: Callable[[Pulled], None],
        say: Callable[[str], None],
        pointer: str = "champion",
    ) -> None:
        from sentiment.registry.reference import parse

        self.reference = reference
        self.output_dir = output_dir
        self.pointer = pointer
        self.seconds = max(seconds, _SHORTEST_PAUSE)
        self._report, self._say = report, say
        self._parsed = parse(reference)
        self._stop = threading.Event()
        self._child: subprocess.Popen[str] | None = None
        self._registry: Registry | None = None
        uri = os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri(output_dir)
        special = any(os.environ.get(name) for name in _ONLY_MLFLOW)
        self._server = uri if uri.startswith(("http://", "https://")) and not special else None

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._stop.set()
        if self._child is not None:
            self._child.terminate()

    def run(self) -> None:
        """Watch until stopped, or until a reference that never changes has been pulled."""
        fixed = self._parsed.alias is None
        done: str | None = None
        refused, pause, retry_at = "", self.seconds, 0.0
        trouble, count = "", 0
        while not self._stop.is_set():
            answered = False
            try:
                answer = self.reference if fixed else self._ask()
                answered = not fixed
                if answer != done and not (answer == refused and time.monotonic() < retry_at):
                    # Should this fail, the same answer has to wait longer each time: a refused
                    # model is downloaded whole before it is refused.
                    pause = min(pause * 2, _LONGEST_PAUSE) if answer == refused else self.seconds
                    refused, retry_at = answer, time.monotonic() + pause
                    self._pull()
                    done, refused = answer, ""
                self._note(answered=True)
                if done == answer and trouble:
                    self._say(f"{self.reference}: well again after {count} attempts")
                    trouble, count = "", 0
            except SentimentError as error:
                if self._stop.is_set():
                    return
                # A registry without such a name, or with a model that is refused, has answered.
                self._note(answered=answered or isinstance(error, (UsageError, ModelError)))
                text = str(error)
                count = count + 1 if text == trouble else 1
                trouble = text
                if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th … time
                    kept = cached(self.reference, self.output_dir, text, self.pointer)
                    self._say(str(kept) if kept else text)
            if fixed and done is not None:
                return
            self._stop.wait(self.seconds * random.uniform(0.9, 1.1))

    def _note(self, *, answered: bool) -> None:
        """Leave word for whoever watches this process; a full disk must not end it."""
        if self.pointer != "champion":
            return  # alerts ask how old the champion is
        with contextlib.suppress(OSError):
            store.note_sync(self.output_dir, answered=answered)

    def _ask(self) -> str:
        """Return what the alias stands for now, in any form that changes with it."""
        if self._server is not None:
            try:
                return ask_server(self._server, self._parsed.name, str(self._parsed.alias))
            except PermissionError:
                self._server = None  # MLflow knows more ways to sign in than this module does
        from sentiment.registry.registry import Registry

        if self._registry is None:
            self._registry = Registry(self.output_dir, self._parsed.name)
        with self._registry.reaching():
            version = self._registry.get(str(self._parsed.alias))
        return f"{version.version} {version.digest}"

    def _pull(self) -> None:
        pulled = (
            self._pull_in_child()
            if self._server
            else pull(self.reference, self.output_dir, self.pointer)
        )
        if pulled.stale:
            raise SentimentError(pulled.stale)
        if pulled.moved:
            self._report(pulled)
        else:
            self._say(str(pulled))

    def _pull_in_child(self) -> Pulled:
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-m", "sentiment", "models", "pull", self.reference, "--json"),
                *("--output-dir", str(self.output_dir), "--as", self.pointer),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=bound_environment(),
        )
        try:
            out, err = self._child.communicate()
        finally:
            code, self._child = self._child.returncode, None
        if code != 0:
            lines = err.strip().splitlines() or [f"the child process ended with {code}"]
            raise SentimentError(lines[-1].removeprefix("error: "))
        return Pulled(**json.loads(out))


def ask_server(uri: str, name: str, alias: str) -> str:
    """Ask a tracking server which version an alias names, without importing MLflow.

    Parameters
    ----------
    uri : str
        ``http://`` or ``https://``, with user and password when it needs them.
    name, alias : str

    Raises
    ------
    UsageError
        If there is no such name or alias.
    PermissionError
        If the server wants a sign-in that the usual variables do not give.
    SentimentError
        If it does not answer.
    """
    parts = urllib.parse.urlsplit(uri)
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    query = urllib.parse.urlencode({"name": name, "alias": alias})
    request = urllib.request.Request(
        f"{where}/api/2.0/mlflow/registered-models/alias?{query}", headers=_sign_in(parts)
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=_tls(where)) as reply:
            found = json.load(reply)["model_version"]
            tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
            return f"{found['version']} {tags.get(DIGEST)}"
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise PermissionError(where) from error
        if error.code in (400, 404):
            with error:
                reason = _message(error.read(2000))
            raise UsageError(
                f"MLflow at {where} has no models:/{name}@{alias}: {reason}"
            ) from error
        raise SentimentError(f"MLflow at {where} answers {error.code}") from error
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise SentimentError(f"MLflow at {where} does not answer: {reason}") from error


def age(seconds: float) -> str:
    """Return a time span as people say it: ``5 min``, ``3 h``, ``12 days``."""
    for unit, size, limit in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def _sign_in(parts: urllib.parse.SplitResult) -> dict[str, str]:
    user = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = parts.password or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        pair = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _tls(where: str) -> ssl.SSLContext | None:
    if not where.startswith("https:"):
        return None
    import ssl

    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        return ssl._create_unverified_context()
    bundle = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or os.environ.get(
        "REQUESTS_CA_BUNDLE"
    )
    return ssl.create_default_context(cafile=bundle)


def _message(body: bytes) -> str:
    try:
        return " ".join(str(json.loads(body)["message"]).split())[:200]
    except (ValueError, KeyError, TypeError):
        return "no message"
