"""Where alerts go until you name a better place: one line each on standard output.

Usage: ``log.py [HOST [PORT]]``. Alertmanager posts to it (its webhook receiver); nothing is installed.
The watchdog is always there, so only its beginning and its end are told.
"""
# ruff: noqa: T201

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LONGEST = 1 << 20  # bytes of one notification


def line(alert: dict[str, Any]) -> str:
    """Return one alert as one line, whatever its texts hold."""
    labels, texts = alert["labels"], alert["annotations"]
    told = [f"{alert['status']:8} {labels.get('severity', ''):8} {labels['alertname']}:"]
    told.append(texts.get("summary", ""))
    if alert["status"] == "firing" and texts.get("action"):
        told.append(f"-> {texts['action']}")
    return " ".join(" ".join(told).split())


class Receiver(BaseHTTPRequestHandler):
    """Takes a notification."""

    watched = False

    def do_POST(self) -> None:
        """Print what a notification tells."""
        try:
            size = min(int(self.headers["Content-Length"]), LONGEST)
            alerts = json.loads(self.rfile.read(size))["alerts"]
            lines = [
                line(alert)
                for alert in alerts
                if alert["labels"]["alertname"] != "SentimentWatchdog" or self.news(alert)
            ]
        except (TypeError, ValueError, KeyError):
            self.send_error(400)
            return
        for text in lines:
            print(text, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def news(self, alert: dict[str, Any]) -> bool:
        """Whether the watchdog says something that was not known."""
        firing = alert["status"] == "firing"
        before, Receiver.watched = Receiver.watched, firing
        return firing != before

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""


if __name__ == "__main__":
    host = sys.argv[1] if sys.argv[1:] else "127.0.0.1"
    address = (host, int(sys.argv[2]) if sys.argv[2:] else 9099)
    with ThreadingHTTPServer(address, Receiver) as server:
        server.serve_forever()
