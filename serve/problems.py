"""What can go wrong with a request: one JSON shape, one code for each cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

# code -> (status, what it means). The codes are also the values of the label
# `error_type` of sentiment_errors_total, so the set must stay small and fixed.
CODES: Mapping[str, tuple[int, str]] = {
    "invalid_json": (400, "The body is not JSON in UTF-8."),
    "bad_request": (400, "The request cannot be understood."),
    "unauthorized": (401, "An API key is missing or wrong."),
    "not_found": (404, "There is nothing at this path."),
    "method_not_allowed": (405, "The path exists, but not for this method."),
    "contradiction": (409, "The answer does not fit the prediction that it is about."),
    "body_too_large": (413, "The body is larger than SENTIMENT_MAX_BODY_BYTES."),
    "unsupported_media_type": (415, "The body's content type is not JSON."),
    "invalid_input": (422, "A field is missing, of the wrong type, empty or too long."),
    "head_too_large": (431, "The head of the request is too large or has too many fields."),
    "internal": (500, "The service failed; the log has the details under the request id."),
    "model_not_ready": (503, "No model is loaded yet, or the service is shutting down."),
    "overloaded": (503, "Too many requests are in progress; try again after Retry-After."),
    "feedback_unavailable": (503, "The feedback database cannot be written."),
    "shadow_unavailable": (503, "What the challenger said cannot be read."),
    "timeout": (504, "The answer was not ready in SENTIMENT_REQUEST_TIMEOUT seconds."),
}


class ApiError(Exception):
    """A request that gets an error for an answer.

    Parameters
    ----------
    code : str
        A key of `CODES`; decides the status.
    message : str
        One line for the caller. It must never hold a path of this machine or a stack trace.
    fields : sequence of dict
        ``{"field": "texts.3", "message": "..."}`` for input that failed validation.
    headers : sequence of (bytes, bytes)
        Extra response headers.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        fields: Sequence[Mapping[str, str]] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.fields = fields
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status of this code."""
        return CODES[self.code][0]

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the body of the answer. ``error`` repeats the message for Open Inference clients."""
        message = self.message or CODES[self.code][1]
        document: dict[str, Any] = {
            "code": self.code,
            "message": message,
            "request_id": request_id,
            "error": message,
        }
        if self.fields:
            document["fields"] = list(self.fields)
        return document

    def body(self, request_id: str) -> bytes:
        """Return `document` as JSON."""
        return to_json(self.document(request_id))


def overloaded() -> ApiError:
    """Return the refusal of a full worker."""
    return ApiError("overloaded", headers=((b"retry-after", b"1"),))


def not_ready() -> ApiError:
    """Return the refusal of a worker without a model."""
    return ApiError("model_not_ready", "no model is loaded yet", headers=((b"retry-after", b"2"),))
