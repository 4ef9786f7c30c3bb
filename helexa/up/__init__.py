"""`manage.py up`: everything of one installation on one machine, from the servers to the ready line and to the end.

`stack` knows the order, `child` keeps one process alive, `bootstrap` makes the first rows in a process of its own.
Nothing here imports torch: `up` itself stays small.
"""
