"""Labelled text, in three splits, whole or streamed."""
