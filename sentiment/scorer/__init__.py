"""The compiled model: a small directory of arrays and JSON that needs only numpy to predict.

`sentiment.compiler` makes one from a fitted vectorizer and classifier (with scikit-learn);
`Scorer` loads, scores and explains, and imports nothing heavier than numpy.
"""

from sentiment.scorer.model import Scorer
from sentiment.scorer.prediction import Prediction, Predictions

__all__ = ["Prediction", "Predictions", "Scorer"]
