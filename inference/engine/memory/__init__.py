"""Blocks of keys and values: which sequence has which, what is remembered of prompts, and how they lie on a device."""
