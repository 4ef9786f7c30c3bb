"""Clients that people really use, each in an environment of its own, against a helexa that runs."""
