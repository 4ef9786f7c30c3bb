"""Everything that is ordinary Django. `/v1` and `/health` never reach this file: see asgi.py."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
