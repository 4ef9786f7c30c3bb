"""Everything that is ordinary Django. `/v1` and `/health` never reach this file: see asgi.py."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from helexa.views import front_page

handler404 = "helexa.api.errors.missing_page"
handler500 = "helexa.api.errors.internal_fault"

urlpatterns = [
    path("", front_page, name="front_page"),
    path("admin/", admin.site.urls),
    path("api/", include("helexa.api.urls")),
]
