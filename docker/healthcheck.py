"""A container's health check.

`healthcheck.py [PORT [PATH]]` succeeds if the path answers 200; `healthcheck.py --looked SECONDS`
if the process that follows a registry asked it so lately.

By default the service's own port and `/health/live`, not `/health/ready`: a service that waits
for its first model is healthy; it must not be restarted or keep a stack from coming up.
"""
# ruff: noqa: T201

import http.client
import json
import os
import sys
import time

if sys.argv[1:2] == ["--looked"]:
    # Written by `sentiment models pull --watch` at every question, answered or not.
    sync = os.path.join(os.environ.get("SENTIMENT_OUTPUT_DIR", "outputs"), "models", "sync.json")  # noqa: PTH118
    try:
        with open(sync, encoding="utf-8") as file:  # noqa: PTH123
            age = time.time() - json.load(file)["looked_at"]
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"nobody follows a registry: {error}")
    print(f"asked {age:.0f} s ago")
    sys.exit(0 if age < float(sys.argv[2]) else 1)

port = int(
    sys.argv[1]
    if sys.argv[1:]
    else os.environ.get("SENTIMENT_PORT") or os.environ.get("PORT") or 8000
)
path = sys.argv[2] if sys.argv[2:] else "/health/live"
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
try:
    connection.request("GET", path)
    status = connection.getresponse().status
except OSError as error:
    sys.exit(f"no answer on port {port}: {error}")
print(f"{path} answered {status}")
sys.exit(0 if status == 200 else 1)
