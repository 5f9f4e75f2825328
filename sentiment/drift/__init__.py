"""Whether texts and answers still look like those that a model was made with."""
