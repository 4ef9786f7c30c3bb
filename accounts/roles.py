"""Who may do what: one table. The gate (accounts.tenancy) asks it, docs/people.md shows it, a test compares them.

A person is an operator (staff), or has a role in some accounts (accounts.models.Member). A key of scope `operator` is
an operator, one of scope `account` is the owner of its account, and one of scope `inference` has no role at all.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from accounts.models import ApiKey, Member


class Role(StrEnum):
    OPERATOR = "operator"
    OWNER = Member.Role.OWNER.value
    MEMBER = Member.Role.MEMBER.value
    AUDITOR = Member.Role.AUDITOR.value


class Reach(IntEnum):
    """How far a role goes in its account; an operator's goes everywhere."""

    NONE = 0
    #: Keys that the person made, and what was spent with them.
    OWN = 1
    ALL = 2


class Action(StrEnum):
    SEE_ACCOUNT = "see the account"
    OPEN_ACCOUNT = "open an account"
    CHANGE_ACCOUNT = "rename, suspend, resume and close the account"
    SEE_MEMBERS = "see its members"
    CHANGE_MEMBERS = "add and remove members, give them roles"
    SEE_KEYS = "see keys"
    MAKE_KEY = "make a key"
    CHANGE_KEY = "change and revoke keys"
    SEE_BUDGETS = "see caps and what is left of them"
    CAP_KEY = "set caps of keys"
    CAP_ACCOUNT = "set caps of the account"
    SEE_ENTRIES = "see entries of the ledger"
    REFUND = "refund an entry"
    SEE_USAGE = "see usage"
    SEE_FLEET = "see neurons and models"
    OPERATE_FLEET = "load and unload models"


_ALL, _OWN = Reach.ALL, Reach.OWN

#: What each role may do in its account. What is not listed it may not.
TABLE: dict[Action, dict[Role, Reach]] = {
    Action.SEE_ACCOUNT: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _ALL, Role.AUDITOR: _ALL},
    Action.OPEN_ACCOUNT: {Role.OPERATOR: _ALL},
    Action.CHANGE_ACCOUNT: {Role.OPERATOR: _ALL},
    Action.SEE_MEMBERS: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _OWN, Role.AUDITOR: _ALL},
    Action.CHANGE_MEMBERS: {Role.OPERATOR: _ALL, Role.OWNER: _ALL},
    Action.SEE_KEYS: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _OWN, Role.AUDITOR: _ALL},
    Action.MAKE_KEY: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _OWN},
    Action.CHANGE_KEY: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _OWN},
    Action.SEE_BUDGETS: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _OWN, Role.AUDITOR: _ALL},
    Action.CAP_KEY: {Role.OPERATOR: _ALL, Role.OWNER: _ALL},
    Action.CAP_ACCOUNT: {Role.OPERATOR: _ALL},
    Action.SEE_ENTRIES: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _OWN, Role.AUDITOR: _ALL},
    Action.REFUND: {Role.OPERATOR: _ALL},
    Action.SEE_USAGE: {Role.OPERATOR: _ALL, Role.OWNER: _ALL, Role.MEMBER: _OWN, Role.AUDITOR: _ALL},
    Action.SEE_FLEET: {Role.OPERATOR: _ALL},
    Action.OPERATE_FLEET: {Role.OPERATOR: _ALL},
}

#: The scopes that a role may give a key, and whose keys it may change: nobody makes a key that may more than they may.
SCOPES: dict[Role, frozenset[str]] = {
    Role.OPERATOR: frozenset(ApiKey.Scope.values),
    Role.OWNER: frozenset({ApiKey.Scope.INFERENCE, ApiKey.Scope.ACCOUNT}),
    Role.MEMBER: frozenset({ApiKey.Scope.INFERENCE}),
    Role.AUDITOR: frozenset(),
}


def reach(role: Role, action: Action) -> Reach:
    return TABLE[action].get(role, Reach.NONE)
