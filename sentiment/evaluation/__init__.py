"""How good a model is: figures, pages, and every test prediction of a run."""
