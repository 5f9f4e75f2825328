"""The processes that serve: one server each, and the parent of several."""
