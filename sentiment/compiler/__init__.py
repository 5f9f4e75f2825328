"""From a fitted scikit-learn pipeline to a compiled scorer."""
