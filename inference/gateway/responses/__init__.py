"""The Responses API: answered, stored, continued, run in the background and replayed."""
