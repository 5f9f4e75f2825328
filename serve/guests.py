"""Who is connected: how many each address has, and who waits without a whole request."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Guests:
    """The open connections of one process, the longest without a whole request first."""

    def __init__(self) -> None:
        self._address: dict[Any, str] = {}
        self._count: Counter[str] = Counter()
        self._idle: dict[Any, None] = {}  # in the order in which they became idle

    def enter(self, connection: Any, address: str) -> None:
        """Take a new connection; it has no request yet."""
        self._address[connection] = address
        self._count[address] += 1
        self._idle[connection] = None

    def leave(self, connection: Any) -> None:
        """Forget a connection."""
        self._idle.pop(connection, None)
        address = self._address.pop(connection, None)
        if address is not None:
            self._count[address] -= 1
            if not self._count[address]:
                del self._count[address]

    def busy(self, connection: Any) -> None:
        """Note that a whole request of it is here."""
        self._idle.pop(connection, None)

    def idle(self, connection: Any) -> None:
        """Note that its request is answered."""
        self._idle[connection] = None

    def count(self, address: str) -> int:
        """Return how many connections an address has."""
        return self._count[address]

    def oldest_idle(self, address: str | None = None) -> Any:
        """Return the connection, of an address if one is given, that has been idle for longest."""
        if address is None:
            return next(iter(self._idle), None)
        return next((one for one in self._idle if self._address.get(one) == address), None)
