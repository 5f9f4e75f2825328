"""How texts become tokens and n-grams: numpy alone; travels with every model."""

from sentiment.text.spec import TextSpec, Tokenizer

__all__ = ["TextSpec", "Tokenizer"]
