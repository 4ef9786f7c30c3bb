from __future__ import annotations

import pytest

from accounts.accounts import open_account
from accounts.models import Account

PEPPERS = {2: b"the newer pepper", 1: b"the older pepper"}


@pytest.fixture
def account(db: None) -> Account:
    return open_account("chemistry")
