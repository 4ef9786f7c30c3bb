from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from unfold.decorators import display

from accounts.admin.read_only import Searched
from accounts.admin.wording import badge
from accounts.models import Reservation
from accounts.models.reservation import reservation_id_of

State = Reservation.State

_COLOURS: dict[str, str] = {
    State.OPEN: "info",
    State.SETTLED: "success",
    State.RELEASED: "",
    State.ESTIMATED: "warning",
}


@admin.register(Reservation)
class ReservationAdmin(Searched):
    list_display = ["request_id", "shown_state", "account", "key", "model", "granted", "created_at"]
    list_filter = ["state"]
    list_select_related = ["account", "key"]
    fields = ["request_id", "shown_state", "account", "key", "model", "node", "gateway", "granted", "completion_bound",
              "shown_held", "created_at", "closed_at"]  # fmt: skip
    readonly_fields = ["request_id", "shown_state", "shown_held"]

    def of_request(self, queryset: QuerySet[Reservation], request_id: str) -> QuerySet[Reservation]:
        return queryset.filter(pk__in=[reservation_id_of(request_id)])

    @display(description="state", ordering="state")
    def shown_state(self, reservation: Reservation) -> str:
        return badge(reservation.get_state_display(), _COLOURS[reservation.state])

    @display(description="held")
    def shown_held(self, reservation: Reservation) -> str:
        held = zip(reservation.budget_ids, reservation.held, strict=True)
        return ", ".join(f"{amount:,} in budget {budget_id}" for budget_id, amount in held) or "in no budget"
