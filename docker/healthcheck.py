"""A container's health check: `healthcheck.py [PORT [PATH]]` succeeds if the path answers 200.

By default the service's own port and `/health/live`, not `/health/ready`: a service that waits
for its first model is healthy; it must not be restarted or keep a stack from coming up.
"""
# ruff: noqa: T201

import http.client
import os
import sys

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
