"""Many trainings over a space of configs that share work, survive failure and end with an answer."""
