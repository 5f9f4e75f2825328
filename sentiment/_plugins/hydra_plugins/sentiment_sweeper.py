"""Where Hydra finds our sweeper: it takes plugins from this namespace package alone."""

from sentiment import sweep


class SentimentSweeper(sweep.Sweep):
    """`sentiment.sweep.Sweep` under the name that ``hydra.sweeper._target_`` gives."""
