"""Every address of /api/. What is under it is found by the test of tenancy, which wants a row for each."""

from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from helexa.api import schema  # noqa: F401  # registers what it extends

urlpatterns = [
    path("", include("accounts.api.urls")),
    path("", include("fleet.api.urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
]
