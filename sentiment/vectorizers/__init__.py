"""Vectorizers with scikit-learn's interface on the n-gram engine.

`CountVectorizer`, `TfidfVectorizer` and `HashingVectorizer` are what configs and stored pipelines name.
"""

from sentiment.vectorizers.base import TextError
from sentiment.vectorizers.hashing import HashingVectorizer
from sentiment.vectorizers.ngram import CountVectorizer, TfidfVectorizer

__all__ = ["CountVectorizer", "HashingVectorizer", "TextError", "TfidfVectorizer"]
