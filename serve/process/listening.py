"""The door: how a listening socket stops letting connections in without losing one."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

logger = logging.getLogger("sentiment.serve")

# Of Linux; the socket module does not name them.
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73


def refuse_new_connections(sock: socket.socket) -> None:
    """Let a listening socket complete no more connections, and keep those it has.

    Closing it would reset connections that clients believe open but that were not accepted yet.
    Asking for more hops left than any packet comes with drops new ones first (Linux; elsewhere
    nothing happens and that small window stays). Unlike a packet filter this needs no privilege,
    which a container does not have.
    """
    _set_least_hops(sock, 255)


def welcome(sock: Any) -> None:
    """Read from a connection whose handshake ended after `refuse_new_connections`."""
    _set_least_hops(sock, 0)


def _set_least_hops(sock: Any, hops: int) -> None:
    if sys.platform != "linux":
        return
    places = [(socket.IPPROTO_IP, _IP_MINTTL)]
    if sock.family == socket.AF_INET6:
        places.append((socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT))
    for level, option in places:
        try:
            sock.setsockopt(level, option, hops)
        except OSError as error:
            logger.debug("no least number of hops here: %s", error)
