"""Who computes in the next step, and what comes of it."""
