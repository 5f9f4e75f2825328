"""The HTTP service: FastAPI on uvicorn in front of a compiled scorer.

    app          the one place where the parts meet: ``create_app`` and ``from_env``
    process/     uvicorn's server and protocol made to leave politely, workers and their parent, and
                 the processes beside them: what brings models, and what scores in the shadow
    service      the application object: one ASGI layer around FastAPI's own stack
    routes/      endpoints as data; ``routes.texts`` classifies for every protocol
    endpoint     what a route is
    state        what the routes share: settings, model, metrics, scoring, drift, feedback
    exchange     one request: identity, body, deadline; ``encoding`` packs and unpacks
    reply        its answer, and the way to the client; ``problems`` are answers too
    keys, guests who may ask, and who is connected
    model        the model that is served, watched and swapped; ``weights`` are shared by workers
    scoring      texts to predictions: at once, or off the event loop with a deadline
    window, ring drift of the last predictions, over all workers
    desk, claim  feedback about predictions, by their signed ids
    shadow, sync the challenger beside the champion; how the pointer follows the registry
    metrics, access_log  what is counted, and what is written of each request
    settings     every knob, one ``SENTIMENT_*`` variable each

Nothing heavier than numpy and FastAPI is imported, and nothing happens at import.
"""
