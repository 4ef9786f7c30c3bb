"""What a token reads of those before it: one step worked out for all layers, and each way to compute it."""
