"""From what a client sends to the tokens that a model reads."""
