"""What every view of accounts' API has: the actor, and rows that come through the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

from django.db.models import Model, QuerySet
from rest_framework.viewsets import GenericViewSet

from accounts.api.paging import NewestFirst
from accounts.roles import Action
from accounts.tenancy import Actor, find, require, visible

Row = TypeVar("Row", bound=Model)


class Gated(GenericViewSet):  # type: ignore[type-arg]
    """`needs` is asked before anything is looked up (accounts.api.permissions)."""

    needs: ClassVar[Mapping[str, Action | None]]
    pagination_class: type[NewestFirst] | None = NewestFirst

    @property
    def actor(self) -> Actor:
        return cast(Actor, self.request.auth)

    def rows(self, model: type[Row]) -> QuerySet[Row]:
        return visible(self.actor, model)

    def row(self, model: type[Row], *, to: Action | None = None, **lookup: Any) -> Row:
        """The visible row of that lookup (else 404), on which `to` is allowed (else 403)."""
        found = find(self.actor, model, **lookup)
        if to is not None:
            require(self.actor, to, found)
        return found

    def asked(self, serializer: type[Any]) -> dict[str, Any]:
        """The query parameters, checked by a serializer."""
        checked = serializer(data=self.request.query_params)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)

    def sent(self, serializer: type[Any], *, partial: bool = False) -> dict[str, Any]:
        """The body, checked by a serializer. With `partial` what is not named is left out."""
        checked = serializer(data=self.request.data, partial=partial)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)

    def page(self, rows: QuerySet[Any], serializer: type[Any]) -> Any:
        """One page of these rows, as an answer."""
        return self.get_paginated_response(serializer(self.paginate_queryset(rows), many=True).data)
