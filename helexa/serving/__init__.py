"""The HTTP server around a plain ASGI application: Daphne, or uvicorn, with limits and a drain.

Knows nothing of accounts or models: an application, its sockets and its manner of saying errors are arguments.
"""
