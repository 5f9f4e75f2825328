"""What goes in and out, for validation and for the documentation."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

REVIEW = "A moving story, beautifully acted. I loved every minute of it."
DULL = "Two hours of my life that I will never get back. Dull and far too long."


class Model(BaseModel):
    """Base of all: fields whose names start with ``model_`` are ours."""

    model_config = ConfigDict(protected_namespaces=(), extra="ignore")


MinConfidence = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        strict=True,
        description="Withhold answers of less confidence; by default as the model decides.",
    ),
]


class Parameters(Model):
    """What a request of another program's protocol says beside its texts; what is unknown is ignored."""

    model_config = ConfigDict(extra="allow")
    min_confidence: MinConfidence = None


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Of ``Annotated[int, Field(strict=True, …), WHOLE]``: a JSON number without a fraction, however it is
written: 1.0 is one. No text, no truth value. Limits stand before it: outside they leave the schema."""


class Requests(NamedTuple):
    """The request models of one application: the limits in them are settings."""

    predict: type[BaseModel]
    batch: type[BaseModel]
    explain: type[BaseModel]


def request_models(max_text_length: int, max_batch_size: int) -> Requests:
    """Return the request models with these limits, in characters and texts."""
    Text = Annotated[str, Field(min_length=1, max_length=max_text_length)]

    class PredictRequest(Model):
        """One text."""

        model_config = ConfigDict(json_schema_extra={"examples": [{"text": REVIEW}]})
        text: Annotated[Text, Field(description="The text to classify.")]
        min_confidence: MinConfidence = None

    class PredictBatchRequest(Model):
        """Several texts."""

        model_config = ConfigDict(json_schema_extra={"examples": [{"texts": [REVIEW, DULL]}]})
        texts: Annotated[
            list[Text],
            Field(
                min_length=1,
                max_length=max_batch_size,
                description="The texts to classify; predictions keep their order.",
            ),
        ]
        min_confidence: MinConfidence = None

    class ExplainRequest(Model):
        """One text, and how much to say about it."""

        model_config = ConfigDict(json_schema_extra={"examples": [{"text": REVIEW}]})
        text: Annotated[Text, Field(description="The text to classify.")]
        top: Annotated[
            Annotated[int, Field(strict=True, ge=1, le=10_000), WHOLE] | None,
            Field(description="Only so many n-grams, strongest first."),
        ] = None

    return Requests(PredictRequest, PredictBatchRequest, ExplainRequest)


class Prediction(Model):
    """The verdict on one text."""

    text: Annotated[str, Field(description="The text, shortened.")]
    sentiment: Annotated[
        str | None, Field(description="The label; null when it is withheld as unsure.")
    ]
    confidence: Annotated[float, Field(ge=0, le=1, description="Its probability.")]
    probabilities: Annotated[dict[str, float], Field(description="Label to probability.")]
    note: Annotated[
        Literal["abstained", "no known word"] | None,
        Field(
            description="abstained: the confidence is below what is asked for. no known word: the "
            "model knows no word of the text, and answers what is usual."
        ),
    ] = None
    would_be: Annotated[str | None, Field(description="The label that is withheld.")] = None
    model_version: str
    prediction_id: Annotated[str, Field(description="Names this prediction, for feedback.")]
    timestamp: Annotated[str, Field(description="When, in UTC.")]


class PredictResponse(Prediction):
    """The verdict on one text, and how long it took."""

    processing_time_ms: float


class PredictBatchResponse(Model):
    """The verdicts on several texts, all by one model, in the order of the request."""

    predictions: list[Prediction]
    total_processing_time_ms: float


class Contribution(Model):
    """What one n-gram added to the score."""

    ngram: str
    count: int
    contribution: Annotated[
        dict[str, float], Field(description="Label to what it added to that label's score.")
    ]
    spans: Annotated[
        list[tuple[int, int]],
        Field(description="Where it stands in the text: start and end, in characters."),
    ]


class ExplainResponse(Model):
    """The verdict on one text, and what made it."""

    text: Annotated[str, Field(description="The whole text, which the spans refer to.")]
    sentiment: str
    confidence: float
    probabilities: dict[str, float]
    scores: Annotated[dict[str, float], Field(description="Label to score: the sum of all parts.")]
    intercept: Annotated[dict[str, float], Field(description="Label to score of an empty text.")]
    contributions: Annotated[list[Contribution], Field(description="Strongest first.")]
    rest: Annotated[dict[str, float], Field(description="Label to the sum of what `top` left out.")]
    note: Annotated[
        Literal["abstained", "no known word"] | None,
        Field(
            description="What the label does not say. abstained: the model would withhold it as unsure. "
            "no known word: the model knows no word of the text."
        ),
    ]
    model_version: str
    processing_time_ms: float


class HealthResponse(Model):
    """Whether the service can serve."""

    status: Literal["healthy", "unhealthy"]
    model_loaded: bool
    model_version: str | None
    model_files_intact: bool | None  # false: it is served from memory, and a start would fail


class LiveResponse(Model):
    """The process runs."""

    status: Literal["alive"]


class ModelInfoResponse(Model):
    """The model that is served."""

    name: str
    version: str
    digest: str
    run_id: str | None
    labels: list[str]
    positive_label: str | None
    n_features: int
    size_bytes: int
    metrics: dict[str, Any]
    training_data: Any
    created: str | None
    loaded: str


class ErrorField(Model):
    """One field that was refused."""

    field: str
    message: str


class ErrorResponse(Model):
    """What every error looks like."""

    code: Annotated[str, Field(description="What went wrong; fixed names.")]
    message: Annotated[str, Field(description="One line for people.")]
    request_id: Annotated[str, Field(description="Also in X-Request-ID and in the log.")]
    error: Annotated[str, Field(description="The message again, for Open Inference clients.")]
    fields: Annotated[
        list[ErrorField] | None, Field(description="The fields that were refused, if any.")
    ] = None
