"""The endpoints, as data: each module's ``endpoints(state)`` returns its own."""
