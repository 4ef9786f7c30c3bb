"""Answers that keep to a form: JSON, schemas, rules, and calls of tools."""
