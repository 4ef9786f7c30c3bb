"""Addresses of accounts' half of /api/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from accounts.api.accounts import Accounts
from accounts.api.budgets import AccountCaps, Budgets, KeyCaps
from accounts.api.entries import Entries
from accounts.api.keys import Keys
from accounts.api.me import MeView
from accounts.api.members import Members
from accounts.api.usage import Usage

router = SimpleRouter(trailing_slash=False)
router.register("accounts", Accounts, "account")
router.register("accounts", AccountCaps, "account-caps")
router.register("budgets", Budgets, "budget")
router.register("entries", Entries, "entry")
router.register("keys", Keys, "key")
router.register("keys", KeyCaps, "key-caps")
router.register("me", MeView, "me")
router.register("members", Members, "member")
router.register("usage", Usage, "usage")

urlpatterns = router.urls
