"""OpenAI's Responses (WIRE_APIS 3)."""
