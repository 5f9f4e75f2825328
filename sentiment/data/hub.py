"""Data sets of the Hugging Face Hub: from the cache without a request, else from the Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentiment.errors import DataError

log = logging.getLogger(__name__)


def load_dataset(path: str, subset: str | None) -> Any:
    """Load all splits: a folder as it is, a Hub data set from the cache first.

    Parameters
    ----------
    path : str
        A folder, or ``OWNER/NAME``.
    subset : str or None
        Which of its configurations.

    Returns
    -------
    mapping of str to datasets.Dataset
        By split.

    Raises
    ------
    DataError
        It can be loaded from neither.
    """
    import datasets

    datasets.utils.logging.disable_progress_bar()
    # What it would say in many lines, the error below says in one.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    try:
        if Path(path).is_dir():
            if (Path(path) / "dataset_dict.json").exists():
                return datasets.load_from_disk(path)
            if (Path(path) / "state.json").exists():  # `save_to_disk` of one split
                return {"train": datasets.load_from_disk(path)}
            return datasets.load_dataset(path, subset)
        try:
            with _offline():
                return datasets.load_dataset(path, subset)
        except Exception as miss:
            log.info("%s is not in the cache (%s); asking the Hub", path, type(miss).__name__)
        _reach_hub()
        return datasets.load_dataset(path, subset)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DataError(
            f"cannot load {path!r} from the Hugging Face Hub: "
            f"{reason[0] if reason else type(error).__name__}; "
            "check the name and the network, or train on files (data=files data.train=…) "
            "or on the embedded reviews (data=reviews)"
        ) from error


@contextmanager
def _offline() -> Iterator[None]:
    """Let `datasets` look into its cache alone, without a request to the Hub."""
    import datasets
    import huggingface_hub

    places: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _reach_hub() -> None:
    """Fail in seconds where the client would retry for a minute."""
    import socket
    import urllib.parse
    import urllib.request

    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set and it is not in the cache")
    if urllib.request.getproxies():
        return
    endpoint = urllib.parse.urlsplit(huggingface_hub.constants.ENDPOINT)
    address = (endpoint.hostname, endpoint.port or (443 if endpoint.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError as error:
        raise OSError(f"{endpoint.hostname} cannot be reached ({error})") from error
