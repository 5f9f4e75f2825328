"""Every setting of the service: one ``SENTIMENT_*`` environment variable each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sentiment.drift.signals import parse_limits
from sentiment.errors import UsageError, nearest
from sentiment.feedback import Place, place_of
from sentiment.store import is_remote, pointer_of

OTHERS = frozenset(
    {
        "SENTIMENT_PARENT_PID",
        "SENTIMENT_PUSHGATEWAY_URL",
        "SENTIMENT_TRAIN_ARGS",
        "SENTIMENT_TRUSTED_TYPES",
    }
)
"""What other commands of this project read; a test holds that it is all of them."""

# What Kubernetes sets for each service of the namespace: NAME_PORT, NAME_SERVICE_HOST and more.
_LINK = re.compile(r"(?:tcp|udp|sctp)://")
_LINK_NAME = re.compile(
    r"SENTIMENT_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?)"
)

LEAST_KEY = 16
"""Characters of a key that is worth something."""

Names = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """What the service can be told, from ``SENTIMENT_*`` variables or keyword arguments.

    Lists are comma-separated. Sizes are bytes, characters or counts; times are seconds.
    Limits and queues are per worker.
    """

    model_config = SettingsConfigDict(
        env_prefix="SENTIMENT_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        populate_by_name=True,
    )

    # where and how
    host: str = "127.0.0.1"  # the address; 0.0.0.0 for all
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        8000, validation_alias=AliasChoices("SENTIMENT_PORT", "PORT", "port")
    )  # 0 takes a free one
    workers: Annotated[int, Field(ge=1, le=256)] = 1  # processes
    root_path: str = ""  # the prefix under which a proxy publishes the service, e.g. /sentiment
    forwarded_allow_ips: Names = ()  # proxies whose X-Forwarded-For/-Proto are believed; * for all
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # the least that is logged
    access_log: bool = True  # a line of JSON for each request, without its text

    # the model
    output_dir: Path = Path("outputs")  # where models and feedback lie
    model: str | None = (
        None  # champion, latest, a digest, a scorer directory, models:/..., runs:/...
    )
    reload_model: Annotated[float, Field(ge=0, le=86_400)] = 5.0  # 0: never look again
    wait_for_model: bool = False  # start not ready instead of failing when there is no model

    # limits
    max_text_length: Annotated[int, Field(ge=1)] = 100_000  # characters of one text
    max_batch_size: Annotated[int, Field(ge=1)] = 1_000  # texts of one request
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 16 * 1024 * 1024  # of one request, unpacked
    max_concurrency: Annotated[int, Field(ge=1)] = 128  # requests that are worked on
    queue_size: Annotated[int, Field(ge=0)] = 128  # requests that wait; one more is refused
    max_connections: Annotated[int, Field(ge=1)] = 2_000  # for one more the oldest idle one goes
    max_connections_per_client: Annotated[int, Field(ge=1)] = (
        1_000  # of one address; a proxy is one
    )
    threads: Annotated[int, Field(ge=1, le=64)] = 1  # for large texts and batches

    # times
    request_timeout: Seconds = 30.0  # then 504
    header_timeout: Seconds = 10.0  # for the whole head of a request, from connecting
    body_timeout: Seconds = 30.0  # for its whole body
    min_body_rate: Annotated[int, Field(ge=0)] = 500  # bytes a second, after the first 5 s
    keep_alive: Seconds = 75.0  # longer than a proxy keeps its idle connections (60 is usual)
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0  # not ready, still serving
    shutdown_timeout: Seconds = 30.0  # for requests in flight once draining is over

    # security
    api_keys: Names = ()  # of clients, 16 characters or more each; none: open to all
    api_keys_file: Path | None = None  # one key a line; read again when it changes
    open_docs: bool = True  # /, /docs, /redoc and /openapi.json without a key
    open_health: bool = True  # /health without a key
    open_metrics: bool = True  # /metrics without a key
    cors_origins: Names = ()  # origins of pages that may call; * for all

    # monitoring and feedback
    drift_window: Annotated[int, Field(ge=100, le=1_000_000)] = 1_000  # texts, over all workers
    drift_limits: Annotated[dict[str, float], NoDecode] = {}  # e.g. score=0.4,words=0.1
    # Signs prediction ids; the same for every replica. Without one, output_dir keeps one.
    # NEW,OLD: the first signs, ids that the others signed stay good.
    feedback_key: SecretStr | None = None
    feedback_url: SecretStr | None = None  # postgresql://…; else feedback.db in the output folder
    feedback_window: Annotated[int, Field(ge=1, le=1_000_000)] = 500  # answers

    # a challenger that scores what the champion answers, in a process of its own for each worker
    shadow: str | None = None  # an alias, a digest, a scorer directory, models:/..., runs:/...
    shadow_texts: bool = False  # keep the texts of the strongest disagreements, shortened

    # set by the supervisor of several workers; the parent owns and wipes the directory
    metrics_dir: Path | None = Field(None, validation_alias="PROMETHEUS_MULTIPROC_DIR")

    @field_validator("api_keys", "cors_origins", "forwarded_allow_ips", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            parts = tuple(part.strip() for part in value.split(",") if part.strip())
            if value and not parts:  # keys of which none is one must not open the service to all
                raise ValueError("blanks and commas name nothing: leave it out, or empty")
            return parts
        return value

    @field_validator("drift_limits", mode="before")
    @classmethod
    def _limits(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return parse_limits(value)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("port", mode="before")
    @classmethod
    def _no_link(cls, value: Any) -> Any:
        # Kubernetes tells every container of a service called "sentiment" by SENTIMENT_PORT.
        return 8000 if isinstance(value, str) and _LINK.match(value) else value

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and not value.startswith("/"):
            raise ValueError("must start with a slash")
        return value

    @model_validator(mode="after")
    def _keys_are_worth_something(self) -> Self:
        if any(len(key) < LEAST_KEY for key in self.api_keys):
            raise ValueError(f"api_keys: a key has fewer than {LEAST_KEY} characters")
        signing = self.feedback_key.get_secret_value() if self.feedback_key is not None else ""
        if signing and not self.feedback_keys:
            raise ValueError("feedback_key: blanks and commas are no key: leave it out, or empty")
        if any(len(key) < LEAST_KEY for key in self.feedback_keys):
            raise ValueError(f"feedback_key: has fewer than {LEAST_KEY} characters")
        return self

    @property
    def feedback_place(self) -> Place:
        """Where the answers about predictions lie."""
        url = self.feedback_url
        return place_of(self.output_dir, "" if url is None else url.get_secret_value())

    @property
    def feedback_keys(self) -> list[str]:
        """The keys that sign prediction ids; the first signs."""
        given = self.feedback_key.get_secret_value() if self.feedback_key is not None else ""
        return [key.strip() for key in given.split(",") if key.strip()]

    @property
    def shadow_pointer(self) -> str | None:
        """What the challenger is found by here: a remote one is brought under an alias."""
        named = self.shadow
        return pointer_of(named) if named is not None and is_remote(named) else named

    @property
    def max_pending(self) -> int:
        """Requests that one worker holds at once, worked on or waiting."""
        return self.max_concurrency + self.queue_size


def load_settings(**values: Any) -> Settings:
    """Read the settings; values that are not None win over the environment.

    Raises
    ------
    UsageError
        One line that names the variable and what is wrong with it; also a ``SENTIMENT_*``
        variable that nothing reads: a misspelt key would start an open service.
    """
    known = {name.upper() for name in Settings.model_fields}
    for variable, value in sorted(os.environ.items()):
        name = variable.removeprefix("SENTIMENT_")
        if name == variable or name in known or variable in OTHERS or _is_link(variable, value):
            continue
        hint = nearest(name, known).replace("'", "'SENTIMENT_", 1)
        raise UsageError(
            f"{variable}: the service has no such setting{hint or '; unset it'} "
            "(serve/settings.py lists all)"
        )
    try:
        settings = Settings(**{key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        # Keys are secrets: say what is wrong, never the value that was given.
        first = error.errors(include_input=False, include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] else ""
        name = where if where.isupper() else f"SENTIMENT_{where.upper()}" if where else ""
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{name}: {reason}" if name else reason) from None
    _ = settings.feedback_place  # an address that cannot be used is said before the start
    return settings


def to_environment(values: Mapping[str, Any]) -> None:
    """Set the variables of values that are not None: workers read their settings there alone."""
    for name, value in values.items():
        if value is not None:
            os.environ[f"SENTIMENT_{name.upper()}"] = str(value)


def _is_link(name: str, value: str) -> bool:
    """Whether Kubernetes made a variable, for a service whose name begins with ``sentiment``."""
    return bool(_LINK_NAME.fullmatch(name) or (name.endswith("_PORT") and _LINK.match(value)))
