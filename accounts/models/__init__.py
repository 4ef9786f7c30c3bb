"""Who may use helexa: a file per noun."""

from accounts.models.account import Account
from accounts.models.api_key import ApiKey

__all__ = ["Account", "ApiKey"]
