"""Accounts, keys and money as operators see them: a file per noun. Rules are in accounts.accounts, keys and budgets."""

from accounts.admin.account import AccountAdmin
from accounts.admin.api_key import ApiKeyAdmin
from accounts.admin.budget import BudgetAdmin
from accounts.admin.entry import EntryAdmin, LineAdmin
from accounts.admin.request_record import RequestRecordAdmin
from accounts.admin.reservation import ReservationAdmin
from accounts.admin.warning import BudgetWarningAdmin
from accounts.admin.webhook import WebhookAdmin

__all__ = [
    "AccountAdmin",
    "ApiKeyAdmin",
    "BudgetAdmin",
    "BudgetWarningAdmin",
    "EntryAdmin",
    "LineAdmin",
    "RequestRecordAdmin",
    "ReservationAdmin",
    "WebhookAdmin",
]
