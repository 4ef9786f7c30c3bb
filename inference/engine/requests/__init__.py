"""Requests, from the moment they are submitted to the event that ends them."""
