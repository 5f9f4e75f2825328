"""The compiled model: a small directory of arrays and JSON that needs only numpy to predict.

`sentiment.scorer.compile` makes one from a fitted vectorizer and classifier (with scikit-learn);
`Scorer` loads, scores and explains, and imports nothing heavier than numpy.
"""

from sentiment.scorer.model import ABSTAIN, Prediction, Predictions, Scorer

__all__ = ["ABSTAIN", "Prediction", "Predictions", "Scorer"]
