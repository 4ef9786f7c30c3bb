"""What the engine costs and how fast it is, beside others doing the same work in the same run.

Each part is a file with a `run(setting)` that returns a table; `__main__` lists them.
"""
