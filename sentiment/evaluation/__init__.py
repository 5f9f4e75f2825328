"""How good a model is: figures, plots, and every test prediction of a run."""
