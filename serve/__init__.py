"""The HTTP service: FastAPI on uvicorn in front of a compiled scorer.

    app          the one place where the parts meet: ``create_app`` and ``from_env``
    process/     uvicorn's server and protocol made to leave politely, workers and their parent
    service      the application object: one ASGI layer around FastAPI's own stack
    routes/      endpoints as data; ``routes.texts`` classifies for every protocol
    endpoint     what a route is
    state        what the routes share: settings, model, metrics, scoring, drift, feedback
    exchange     one request: identity, body, deadline
    reply        its answer, and the way to the client
    model        the model that is served, watched and swapped
    scoring      texts to predictions: at once, or off the event loop with a deadline
    window, ring drift of the last predictions, over all workers
    desk, claim  feedback about predictions, by their signed ids
    settings     every knob, one ``SENTIMENT_*`` variable each

Nothing heavier than numpy and FastAPI is imported, and nothing happens at import.
"""
