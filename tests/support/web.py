"""One client for all: making one reads the machine's certificates, which takes longer than what it asks."""

from __future__ import annotations

import httpx

HTTP = httpx.Client(verify=False, timeout=60, headers={"Connection": "close"})
"""A connection for each request, so that every worker gets its share."""
