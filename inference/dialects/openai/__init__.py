"""What OpenAI's dialects share."""
