"""From logits to tokens, each sequence by its own settings."""
