"""The HTTP service: FastAPI on uvicorn in front of a compiled scorer.

    settings     every knob, one ``SENTIMENT_*`` variable each
    protocol     uvicorn's HTTP protocol with time-outs for slow and half-open clients
    supervisor   uvicorn's server and worker supervisor: drain, replace, count
    service      the application object: one ASGI layer around FastAPI's own stack
    exchange     one request on its way through: identity, body, deadline, reply
    endpoints    a route that is documented by FastAPI and answered without its overhead
    model        the model that is served, watched and swapped
    scoring      texts to predictions: at once, or off the event loop with a deadline
    predict, health, info, v2, mlflow, pages    the routes
    metrics, access_log, problems, schemas      what these share

``create_app(model, registry, settings)`` assembles an application from its parts;
``from_env()`` does it from the environment alone and is what each worker calls.
Nothing heavier than numpy and FastAPI is imported, and nothing happens at import.
"""
