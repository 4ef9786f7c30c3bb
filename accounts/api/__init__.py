"""Accounts over /api/: a file per noun. Views only translate; who may do what is asked of accounts.tenancy."""
