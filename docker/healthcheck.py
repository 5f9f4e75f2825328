"""Docker's health check: does the service on this container's own port answer?

Asks `/health/live`, not `/health/ready`: a service that still waits for its first model is
healthy, and must not be restarted or keep a stack from coming up.
"""

import http.client
import os
import sys

port = int(os.environ.get("SENTIMENT_PORT") or os.environ.get("PORT") or 8000)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
try:
    connection.request("GET", "/health/live")
    status = connection.getresponse().status
except OSError as error:
    print(f"no answer on port {port}: {error}")
    sys.exit(1)
print(f"/health/live answered {status}")
sys.exit(0 if status == 200 else 1)
