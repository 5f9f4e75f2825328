"""From labelled text to a tuned, tracked, registered, served and monitored classifier."""

__version__ = "0.1.0"
