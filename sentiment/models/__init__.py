"""Classifiers for sparse n-gram features; what configs and stored pipelines name."""

from sentiment.models.nbsvm import NBSVM, linear_svc

__all__ = ["NBSVM", "linear_svc"]
