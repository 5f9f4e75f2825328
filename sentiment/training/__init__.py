"""The one training entry point and what it needs."""
