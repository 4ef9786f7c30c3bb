"""Everything that moves a budget: reserve, extend, settle, release, correct, refund, credit, and a change of limits.

A batch of operations is one transaction (DESIGN 4): `statements` says what is read under which locks, `decide` is a
plain function from what was read to what is written, and `transaction` carries both out on either kind of connection.
`loop` is how a gateway groups what arrives; admin, commands and the reaper bring a batch of their own.
"""
