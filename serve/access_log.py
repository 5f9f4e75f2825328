"""One JSON line per request on stderr, without any text of the user.

Lines are collected and written by a thread a few times a second: a log that is read slowly
must not hold up answers, and a system call per request would cost more than the rest of the line.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from json.encoder import encode_basestring_ascii as quote

# Often, so that the thread never keeps the interpreter from the requests for long.
FLUSH_SECONDS = 0.1
# A pipe takes up to this many bytes in one piece, so lines of several workers never mix.
PIECE = 4096
# When the reader has stopped reading, so much is kept in memory before lines are dropped.
MAX_LINES = 50_000


class AccessLog:
    """Collect lines and write them in the background.

    Parameters
    ----------
    descriptor : int
        The file to write to; 2 is stderr.
    """

    def __init__(self, descriptor: int = 2) -> None:
        self.descriptor = descriptor
        self.dropped = 0
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""
        self._writing = threading.Lock()

    def add(
        self,
        request_id: str,
        client: str,
        method: str,
        route: str,
        path: str,
        status: int,
        milliseconds: float,
        size: int,
        model: str,
        trace: str = "",
    ) -> None:
        """Add one line. `path` is logged only where no route matched, cut short and quoted."""
        lines = self._lines
        if len(lines) >= MAX_LINES:
            self.dropped += 1
            return
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        tail = f',"path":{quote(path[:200])}' if route == "unmatched" else ""
        if trace:
            tail += f',"traceparent":"{trace}"'
        lines.append(
            f'{{"time":"{self._stamp}.{int((now - second) * 1000):03d}Z","event":"request"'
            f',"request_id":"{request_id}","client":{quote(client[:80])},"method":{quote(method[:20])}'
            f',"route":{quote(route[:200])},"status":{status},"milliseconds":{milliseconds:.3f}'
            f',"bytes":{size},"model":{quote(model[:80])}{tail}}}\n'
        )

    def write(self) -> None:
        """Write what has been collected; runs in a thread, and once more at the end."""
        with self._writing:
            lines, self._lines = self._lines, []
            if self.dropped:
                lines.append(f'{{"event":"access_log_dropped","lines":{self.dropped}}}\n')
                self.dropped = 0
            piece: list[bytes] = []
            size = 0
            for line in lines:
                encoded = line.encode("ascii", "replace")
                if size + len(encoded) > PIECE and piece:
                    self._put(b"".join(piece))
                    piece, size = [], 0
                piece.append(encoded)
                size += len(encoded)
            if piece:
                self._put(b"".join(piece))

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self.descriptor, data) :]
        except OSError:
            self.dropped += 1  # the reader is gone: serving goes on

    async def run(self) -> None:
        """Write every `FLUSH_SECONDS` until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._lines:
                await loop.run_in_executor(None, self.write)
