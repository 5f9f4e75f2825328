"""Where Hydra finds our sweeper: it takes plugins from this namespace package alone."""

from sentiment.sweep.sweeper import Sweep


class SentimentSweeper(Sweep):
    """`sentiment.sweep.sweeper.Sweep` under the name that ``hydra.sweeper._target_`` gives."""
