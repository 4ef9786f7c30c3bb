"""`manage.py loadtest`: how much a server of the chat API carries, and proof that every answer under load was right.

`generator` asks and measures in a process of its own, over `connection`s; `answers` knows a right one; `round` counts;
`scratch` and `stack` make the gateway it is pointed at when no other is named.
"""
