"""Registered models: register, promote through the gate, roll back, and fetch.

A version is one scorer, known by its digest. The alias ``champion`` says which is in
production; it moves in turns (`sentiment.registry.history`), and the local pointer of the same name
follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sentiment import store
from sentiment.errors import ModelError, Parameter, SentimentError, UsageError, nearest
from sentiment.registry import history
from sentiment.registry.history import Move
from sentiment.registry.reference import DEFAULT_NAME, ModelReference, parse
from sentiment.registry.source import SCORER_FOLDER, Source, info_of
from sentiment.scorer.document import DOCUMENT_NAME, read_document, weights_name
from sentiment.store import StoredModel
from sentiment.tracking import client as tracking
from sentiment.tracking.address import is_new, shown, tracking_uri
from sentiment.tracking.tags import (
    CODE_HASH,
    CONFIG_HASH,
    DATA_FINGERPRINT,
    DIGEST,
    GIT_COMMIT,
    GIT_DIRTY,
    METRIC,
    TEST_FINGERPRINT,
    VERSION,
)

if TYPE_CHECKING:
    from sentiment.scorer import Scorer
    from sentiment.tracking.types import ModelVersion, RegisteredModel

CHAMPION = "champion"
_METRIC_TAG = METRIC
_METRICS = re.compile(
    r"(val|test)_((balanced_)?accuracy|accuracy_low|accuracy_high|precision|recall|f1_score|roc_auc"
    r"|average_precision|log_loss|brier_score|ece)"
)
_COPIED_TAGS = (
    DIGEST,
    DATA_FINGERPRINT,
    TEST_FINGERPRINT,
    CONFIG_HASH,
    CODE_HASH,
    GIT_COMMIT,
    GIT_DIRTY,
    VERSION,
)


@dataclass(frozen=True)
class Version:
    """A registered version.

    ``digest`` is None when something else than `sentiment register` made it.
    """

    name: str
    version: str
    digest: str | None
    run_id: str | None
    created: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    tags: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the version as plain containers."""
        return asdict(self)


class Registry:
    """One registered model in MLflow, and the models that lie in ``output_dir``.

    Parameters
    ----------
    output_dir : Path
        Holds the local models and pointers, and the database unless MLflow's variables name another.
    name : str
        The registered model.

    Raises
    ------
    UsageError
        If the local database does not exist.
    SentimentError
        If the tracking server does not answer.
    """

    def __init__(self, output_dir: Path, name: str = DEFAULT_NAME) -> None:
        self.output_dir = output_dir
        self.name = name
        if is_new(output_dir):
            raise UsageError(
                f"nothing was trained yet in {output_dir}: there is no "
                f"{tracking_uri(output_dir).removeprefix('sqlite:///')} "
                "(",
                Parameter("output_dir"),
                ", SENTIMENT_OUTPUT_DIR or MLFLOW_TRACKING_URI say where to look)",
            )
        self.client = tracking.connect(output_dir)
        self.where = shown(self.client.tracking_uri)

    def reaching(self) -> AbstractContextManager[None]:
        """Report a server that goes away in the middle of the body as one line with its address."""
        return tracking.reaching(self.client.tracking_uri)

    def names(self) -> list[str]:
        """Return the names of all registered models."""
        found: list[str] = []
        token = None
        while True:
            page = self.client.search_registered_models(page_token=token)
            found += [model.name for model in page]
            token = page.token
            if not token:
                return found

    def each(self) -> Iterator[Registry]:
        """Yield the same registry for each registered model."""
        for name in self.names():
            other = copy(self)
            other.name = name
            yield other

    def versions(self) -> list[Version]:
        """Return all versions of the registered model, newest first."""
        aliases = self.registered().aliases
        quote = '"' if "'" in self.name else "'"
        found: list[Version] = []
        token = None
        while True:
            page = self.client.search_model_versions(
                f"name={quote}{self.name}{quote}", page_token=token
            )
            found += [self._version(version, aliases) for version in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda version: -int(version.version))

    def get(self, which: str) -> Version:
        """Return the version with this number or alias.

        Raises
        ------
        UsageError
            If there is none; the message names the nearest.
        """
        registered = self.registered()
        number = which
        if not which.isdigit():
            if which not in registered.aliases:
                known = list(registered.aliases)
                raise UsageError(
                    f"{self.name} has no alias {which!r}{nearest(which, known)}"
                    f" (aliases: {', '.join(known) or 'none'}; a version is given by its number)"
                )
            number = str(registered.aliases[which])
        found = tracking.find(self.client.get_model_version, self.name, number)
        if found is None:
            newest = max((int(v.version) for v in self.versions()), default=None)
            raise UsageError(f"{self.name} has no version {number} (newest: {newest or 'none'})")
        return self._version(found, registered.aliases)

    def aliased(self) -> dict[str, str]:
        """Return the digests that any registered model's aliases name, with the alias."""
        digests: dict[str, str] = {}
        for other in self.each():
            for alias, version in other.registered().aliases.items():
                with suppress(SentimentError):  # not a model of ours
                    source = other.source_of_version(other.get(str(version)))
                    digests[source.digest] = f"models:/{other.name}@{alias}"
        return digests

    def moves(self) -> list[Move]:
        """Return the history of every alias, oldest first."""
        return history.read_moves(self.registered().tags)

    def fetch(self, reference: ModelReference) -> StoredModel:
        """Bring the model that a reference names into the local store, verified."""
        if reference.run is not None:
            source = self.source_of_run(reference.run)
            return replace(self.bring(source), reference=reference.text, run_id=source.run_id)
        if reference.model is not None:
            found = tracking.find(self.client.get_logged_model, reference.model)
            if found is None or not found.source_run_id:
                raise UsageError(f"no logged model {reference.model!r} of a run at {self.where}")
            source = self.source_of_run(found.source_run_id)
            return replace(self.bring(source), reference=reference.text, run_id=source.run_id)
        if reference.version == "latest":
            self.registered()
            version = max(self.versions(), key=lambda one: int(one.version), default=None)
            if version is None:
                raise UsageError(f"{self.name} has no version; sentiment register makes one")
        else:
            version = self.get(str(reference.alias or reference.version))
        return replace(
            self.bring(self.source_of_version(version)),
            reference=reference.text,
            name=self.name,
            version=version.version,
            run_id=version.run_id,
        )

    def registered(self) -> RegisteredModel:
        """Return MLflow's record: aliases and tags as they stand now.

        Raises
        ------
        UsageError
            If there is none of this name; the message names the nearest.
        """
        found = tracking.find(self.client.get_registered_model, self.name)
        if found is None:
            known = self.names()
            others = f" (there are {', '.join(known[:20])})" if known else ""
            raise UsageError(
                f"no registered model {self.name!r} in MLflow at {self.where}"
                f"{nearest(self.name, known)}{others}; sentiment register makes one"
            )
        return found

    def _version(self, found: ModelVersion, aliases: Mapping[str, Any]) -> Version:
        tags = {key: str(value) for key, value in found.tags.items()}
        number = str(found.version)
        return Version(
            name=self.name,
            version=number,
            digest=tags.get(DIGEST),
            run_id=found.run_id or None,
            created=_time(found.creation_timestamp),
            aliases=tuple(sorted(a for a, version in aliases.items() if str(version) == number)),
            metrics={
                key.removeprefix(_METRIC_TAG): float(value)
                for key, value in tags.items()
                if key.startswith(_METRIC_TAG)
            },
            tags={key: value for key, value in tags.items() if not key.startswith(_METRIC_TAG)},
        )

    def version_with(self, digest: str) -> Version | None:
        """Return the first version of this scorer, or None."""
        same = [version for version in self.versions() if version.digest == digest]
        return same[-1] if same else None

    def create(self, source: Source) -> Version:
        """Make a new version of a run's model, tagged with what it is, described by its card."""
        from sentiment.registry.description import description_of  # imports what makes cards

        tags = {key: source.tags[key] for key in _COPIED_TAGS if key in source.tags}
        for name, value in source.metrics.items():
            if _METRICS.fullmatch(name):
                tags[_METRIC_TAG + name] = f"{value:.6g}"
        made = self.client.create_model_version(
            self.name,
            f"models:/{source.model_id}",
            run_id=source.run_id,
            tags=tags,
            model_id=source.model_id,
            description=description_of(self.client, source.run_id),
        )
        return self._version(made, {})

    def source_of_run(self, run_id: str) -> Source:
        """Return where a run's model is.

        Raises
        ------
        UsageError
            If there is no such run or it has no model.
        """
        run = tracking.find(self.client.get_run, run_id)
        if run is None or run.info.lifecycle_stage == "deleted":
            gone = "was deleted" if run else "is not there"
            raise UsageError(
                f"run {run_id!r} {gone} in MLflow at {self.where} "
                "(sentiment compare lists runs; MLFLOW_TRACKING_URI says where to look)"
            )
        digest = run.data.tags.get(DIGEST)
        fit = run.info.status == "FINISHED" and CONFIG_HASH in run.data.tags
        if digest is None and fit:
            raise UsageError(
                f"run {run_id} has no model to use: its pipeline does not compile to a scorer"
            )
        models = run.outputs.model_outputs if run.outputs else []
        if digest is None or not models or run.info.status != "FINISHED":
            raise UsageError(
                f"run {run_id} has no model to use: it is {run.info.status}"
                + ("" if digest else " and was not made by sentiment train, or failed before")
                + ("" if models or not digest else " and logged no model")
            )
        model = self.client.get_logged_model(models[-1].model_id)
        return Source(
            label=f"run {run_id}",
            digest=digest,
            folder=f"{model.artifact_location}/{SCORER_FOLDER}",
            run_id=run_id,
            metrics=dict(run.data.metrics),
            tags=dict(run.data.tags),
            created=_time(run.info.end_time),
            model_id=model.model_id,
        )

    def source_of_version(self, version: Version) -> Source:
        """Return where a version's model is.

        Raises
        ------
        ModelError
            If it is not one of ours.
        """
        run = tracking.find(self.client.get_run, version.run_id) if version.run_id else None
        logged = run.data.tags if run else {}
        digest = version.digest or logged.get(DIGEST)
        label = f"{version.name} version {version.version}"
        if digest is None:
            raise ModelError(
                f"{label} holds no scorer of sentiment: "
                "neither it nor its run has the tag sentiment.digest"
            )
        folder = self.client.get_model_version_download_uri(version.name, version.version)
        return Source(
            label=label,
            digest=digest,
            folder=f"{folder.rstrip('/')}/{SCORER_FOLDER}",
            run_id=version.run_id,
            metrics=dict(run.data.metrics) if run else version.metrics,
            tags={**logged, **version.tags},
            created=_time(run.info.end_time) if run else version.created,
        )

    @contextmanager
    def downloaded(self, source: Source) -> Iterator[Path]:
        """Download the two files of a scorer, nothing else."""
        folder = store.models_dir(self.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            try:
                tracking.download(source.folder, [DOCUMENT_NAME], Path(scratch))
                _, document = read_document(Path(scratch))
                tracking.download(source.folder, [weights_name(document)], Path(scratch))
            except ModelError as error:
                raise ModelError(f"{source.label} holds no whole model: {error}") from error
            yield Path(scratch)

    def bring(self, source: Source) -> StoredModel:
        """Return the stored model, fetched unless it is there."""
        if not store.is_stored(source.digest, self.output_dir):
            with self.downloaded(source) as folder:
                try:
                    store.import_model(folder, info_of(source), self.output_dir, source.digest)
                except ModelError as error:
                    raise ModelError(f"{source.label} is refused: {error}") from error
        return store.resolve(source.digest, self.output_dir)

    def load(self, source: Source) -> Scorer:
        """Return a verified scorer, fetched unless it is stored."""
        from sentiment.scorer import Scorer

        return Scorer.load(self.bring(source).path, digest=source.digest)


def registered_versions(output_dir: Path, name: str | None = None) -> list[Version]:
    """Return the versions of one registered model, or of all, each model's newest first.

    Parameters
    ----------
    output_dir : Path
    name : str, optional

    Raises
    ------
    UsageError
        There is no model of this name.
    SentimentError
        MLflow does not answer.
    """
    if name is None and is_new(output_dir):
        return []
    registry = Registry(output_dir, name or DEFAULT_NAME)
    with registry.reaching():
        if name is not None:
            return registry.versions()
        return [version for each in registry.each() for version in each.versions()]


def fetch(reference: str, output_dir: Path) -> StoredModel:
    """Bring the model that ``runs:/…`` or ``models:/…`` names into the local store.

    Only the scorer is downloaded, and only when no model of its digest is stored.

    Parameters
    ----------
    reference : str
        ``runs:/<run_id>``, ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.
    output_dir : Path

    Raises
    ------
    UsageError
        If there is no such run, name, alias or version.
    ModelError
        If what was downloaded is not the model that was registered.
    SentimentError
        If MLflow does not answer.
    """
    parsed = parse(reference)
    if parsed.run is not None:
        # What a run has made does not change: a model of it that is here needs no server.
        for stored in store.list_models(output_dir):
            if stored.info.get("run_id") == parsed.run:
                return replace(stored, reference=reference, run_id=parsed.run)
    registry = Registry(output_dir, parsed.name)
    with registry.reaching():
        return registry.fetch(parsed)


def alias_of(registered: RegisteredModel, alias: str) -> str | None:
    """Return the version that an alias names, or None."""
    # It is an int from a database and a string from a server.
    version = registered.aliases.get(alias)
    return None if version is None else str(version)


def _time(milliseconds: int | None) -> str:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC).isoformat(timespec="seconds")
