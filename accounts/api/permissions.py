"""Whether somebody may use an address at all; which rows it then reaches is the gate's (accounts.tenancy)."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey
from accounts.roles import Action
from accounts.tenancy import Actor


class MayAct(BasePermission):
    """Asks for what the view says in `needs`: an action of the table for each of its methods, None for everybody's."""

    message = "You may not do this; docs/people.md says who may."

    def has_permission(self, request: Request, view: Any) -> bool:
        actor = request.auth
        if not isinstance(actor, Actor):
            return False
        if view.action in (None, "metadata"):  # no such method here, as the answer will say
            return True
        needed = view.needs[view.action]
        if needed is None or actor.may(Action(needed)):
            return True
        if actor.key is not None and actor.key.scope == ApiKey.Scope.INFERENCE:
            self.message = "A key of scope inference sees /api/me and nothing else here."
        return False
