"""Who may use helexa, and what was spent: a file per noun."""

from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from accounts.models.budget import Budget
from accounts.models.entry import Entry, Line
from accounts.models.member import Member
from accounts.models.request_record import RequestRecord
from accounts.models.reservation import TRANSITIONS, Reservation
from accounts.models.spend import DailySpend, HourlySpend
from accounts.models.warning import BudgetWarning, Delivery, Webhook

__all__ = [
    "TRANSITIONS",
    "Account",
    "ApiKey",
    "Budget",
    "BudgetWarning",
    "DailySpend",
    "Delivery",
    "Entry",
    "HourlySpend",
    "Line",
    "Member",
    "RequestRecord",
    "Reservation",
    "Webhook",
]
