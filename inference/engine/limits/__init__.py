"""What a model can take on here, from what was measured."""
