"""The fleet over /api/, asked live of Redis. Who may ask is the joining layer's (helexa.settings, REST_FRAMEWORK)."""
