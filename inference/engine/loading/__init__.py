"""From where weights come from to a model that has computed a token."""
