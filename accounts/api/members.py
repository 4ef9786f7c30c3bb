"""/api/members: which people have which role in an account."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.fields import Line
from accounts.api.gated import Gated
from accounts.members import add_member, change_role, remove_member
from accounts.models import Account, Member
from accounts.roles import Action


class MemberShown(serializers.Serializer[Member]):
    id = serializers.IntegerField()
    account = serializers.IntegerField(source="account_id")
    user = serializers.CharField(source="user.username")
    role = serializers.ChoiceField(Member.Role.choices)


class MemberChanged(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Member.Role.choices)


class MemberSent(MemberChanged):
    account = serializers.IntegerField(min_value=1, max_value=10**18)
    user = Line(max_length=150, help_text="The name they sign in with.")


class MemberAsked(serializers.Serializer[Any]):
    account = serializers.IntegerField(required=False, min_value=1, max_value=10**18)


class Members(Gated):
    queryset = Member.objects.none()
    lookup_value_regex = "[0-9]{1,18}"
    needs = {
        "list": Action.SEE_MEMBERS,
        "create": Action.CHANGE_MEMBERS,
        "partial_update": Action.CHANGE_MEMBERS,
        "destroy": Action.CHANGE_MEMBERS,
    }

    @extend_schema(parameters=[MemberAsked], responses=MemberShown(many=True))
    def list(self, request: Request) -> Response:
        """The members you see, of one account or of all."""
        members = self.rows(Member).select_related("user")
        if "account" in (asked := self.asked(MemberAsked)):
            members = members.filter(account=self.row(Account, pk=asked["account"]))
        return self.page(members, MemberShown)

    @extend_schema(request=MemberSent, responses={201: MemberShown})
    def create(self, request: Request) -> Response:
        """Give somebody a role in an account."""
        sent = self.sent(MemberSent)
        account = self.row(Account, pk=sent["account"], to=Action.CHANGE_MEMBERS)
        member = add_member(account, sent["user"], sent["role"], author=self.actor.author)
        return Response(MemberShown(member).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=MemberChanged, responses=MemberShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Give a member another role."""
        member = self.row(Member, pk=pk, to=Action.CHANGE_MEMBERS)
        changed = change_role(member, self.sent(MemberChanged)["role"], author=self.actor.author)
        return Response(MemberShown(changed).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Take somebody's role in an account away; the keys they made stay."""
        remove_member(self.row(Member, pk=pk, to=Action.CHANGE_MEMBERS), author=self.actor.author)
        return Response(status=status.HTTP_204_NO_CONTENT)
