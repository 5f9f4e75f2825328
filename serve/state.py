"""What the routes of one application share."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from serve.claim import Signer, kept_key
from serve.desk import FeedbackDesk
from serve.exchange import Limits
from serve.guests import Guests
from serve.keys import Keys
from serve.metrics import Metrics
from serve.model import LoadedModel, ModelHolder
from serve.scoring import Scoring
from serve.settings import Settings
from serve.shadow import Shadow
from serve.sync import ModelSync
from serve.window import DriftWindow

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

logger = logging.getLogger("sentiment.serve")


# JSON may write a character beyond the first plane as two escapes of six bytes.
_BYTES_PER_CHARACTER = 12


@dataclass(eq=False)
class State:
    """The parts of one application.

    Attributes
    ----------
    settings : Settings
    model : ModelHolder
        What is served.
    metrics : Metrics
    scoring : Scoring
    drift : DriftWindow
    feedback : FeedbackDesk
    keys : Keys
        Who may ask.
    shadow : Shadow or None
        Where a challenger is named.
    draining : bool
        Set by the server on SIGTERM: not ready any more, but still serving.
    running : int
        Requests that are being answered.
    uploading : int
        Those of them whose body is still on its way.
    buffered : int
        Bytes of bodies on their way that are here.
    guests : Guests
        The open connections.
    tasks, connections : set
        The protocol's own, once there is a server.
    """

    settings: Settings
    model: ModelHolder
    metrics: Metrics
    scoring: Scoring
    drift: DriftWindow
    feedback: FeedbackDesk
    keys: Keys
    shadow: Shadow | None = None
    draining: bool = False
    running: int = 0
    uploading: int = 0
    buffered: int = 0
    guests: Guests = field(default_factory=Guests)
    tasks: set[Any] = field(default_factory=set)
    connections: set[Any] = field(default_factory=set)

    @classmethod
    def make(cls, model: ModelHolder, registry: CollectorRegistry, settings: Settings) -> State:
        """Make the parts, and have each told of every model that takes over."""
        metrics = Metrics(registry, settings.metrics_dir)
        keys = [key.encode() for key in settings.feedback_keys or [kept_key(settings.output_dir)]]
        feedback = FeedbackDesk(
            Signer(*keys), settings.feedback_place, settings.output_dir, registry
        )
        drift = DriftWindow(
            settings.drift_window,
            settings.drift_limits,
            settings.metrics_dir,
            settings.feedback_place,
            settings.feedback_window,
        )
        drift.on_read = feedback.was_read
        metrics.add(drift)
        metrics.add(ModelSync(settings.output_dir))

        shadow = None
        if settings.shadow_pointer is not None:
            shadow = Shadow(settings.shadow_pointer, settings.output_dir, registry)
            metrics.add(shadow)

        def swapped(loaded: LoadedModel, before: LoadedModel | None, seconds: float) -> None:
            feedback.swapped(loaded)
            drift.swapped(loaded)
            if shadow is not None:
                shadow.swapped(loaded)
            metrics.swapped(loaded, before, seconds)

        model.on_swap = swapped
        model.on_refused = metrics.refused
        scoring = Scoring(settings.threads, settings.queue_size)
        return cls(
            settings,
            model,
            metrics,
            scoring,
            drift,
            feedback,
            Keys(settings.api_keys, settings.api_keys_file),
            shadow,
        )

    @property
    def ready(self) -> bool:
        """Whether predictions can be served and new clients are welcome."""
        return self.model.current is not None and not self.draining

    @cached_property
    def limits(self) -> Limits:
        """What one request may take."""
        settings = self.settings
        return Limits(
            settings.max_body_bytes,
            settings.request_timeout,
            max(262_144, 256 * settings.max_batch_size),
            max(262_144, _BYTES_PER_CHARACTER * settings.max_text_length),
            ThreadPoolExecutor(1, thread_name_prefix="body"),
        )

    @property
    def pending(self) -> int:
        """Requests read whole and not yet answered."""
        return max(len(self.tasks), self.running) - self.uploading

    def is_draining(self) -> bool:
        """Whether the process is leaving."""
        return self.draining

    def sample(self) -> None:
        """Bring the gauges up to date; called a few times a second instead of at each request."""
        metrics = self.metrics
        metrics.in_flight.set(self.pending + self.uploading)
        metrics.connections.set(len(self.connections))
        metrics.queued.set(self.scoring.waiting)
        metrics.ready.set(1 if self.ready else 0)
        metrics.intact.set(1 if self.model.intact else 0)
