"""From the tokens of a model to the pieces of an answer: text, reasoning and calls."""
