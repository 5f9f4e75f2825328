from sentiment.api import evaluate as evaluate
from sentiment.api import load as load
from sentiment.api import sweep as sweep
from sentiment.api import train as train
from sentiment.config import compose as compose
from sentiment.errors import SentimentError as SentimentError
from sentiment.estimator import TextClassifier as TextClassifier
from sentiment.scorer import Scorer as Scorer
from sentiment.training.run import TrainResult as TrainResult

__version__: str
