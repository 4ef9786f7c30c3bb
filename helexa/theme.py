"""The look and the menu of /admin/: settings of django-unfold, whose fonts and icons are its own static files."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

#: Neutral with a trace of green, as the front page has it.
_BASE = {
    "50": "oklch(98.3% .004 100)",
    "100": "oklch(96.2% .005 110)",
    "200": "oklch(91.5% .007 120)",
    "300": "oklch(86% .009 130)",
    "400": "oklch(71% .012 160)",
    "500": "oklch(53% .014 170)",
    "600": "oklch(43% .014 175)",
    "700": "oklch(36% .013 178)",
    "800": "oklch(27% .011 180)",
    "900": "oklch(19.5% .009 180)",
    "950": "oklch(14% .007 180)",
}

#: Teal; 600 carries white text and 500 stands on base 900, both with the contrast of WCAG AA.
_PRIMARY = {
    "50": "oklch(98% .012 181)",
    "100": "oklch(95% .03 181)",
    "200": "oklch(90% .055 182)",
    "300": "oklch(82% .085 183)",
    "400": "oklch(72% .1 184)",
    "500": "oklch(61% .1 185)",
    "600": "oklch(48% .085 186)",
    "700": "oklch(42% .073 187)",
    "800": "oklch(37% .062 188)",
    "900": "oklch(32% .05 188)",
    "950": "oklch(24% .038 190)",
}


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model}_changelist"),
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "helexa",
    "SITE_HEADER": "helexa",
    "SITE_SUBHEADER": "accounts, money and the fleet",
    "SITE_URL": "/",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("helexa/icon.svg"),
        }
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [lambda request: static("helexa/admin.css")],
    "COLORS": {"base": _BASE, "primary": _PRIMARY},
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "title": "Accounts",
                "items": [
                    _item("Accounts", "groups", "accounts_account"),
                    _item("API keys", "key", "accounts_apikey"),
                    _item("Caps", "speed", "accounts_budget"),
                ],
            },
            {
                "title": "Ledger",
                "items": [
                    _item("Entries", "receipt_long", "accounts_entry"),
                    _item("Reservations", "hourglass_top", "accounts_reservation"),
                    _item("Requests", "swap_vert", "accounts_requestrecord"),
                    _item("Warnings", "notifications", "accounts_budgetwarning"),
                    _item("Webhooks", "webhook", "accounts_webhook"),
                ],
            },
            {
                "title": "Fleet",
                "items": [
                    _item("Models", "deployed_code", "fleet_profile"),
                    _item("Neurons", "dns", "fleet_neuron"),
                    _item("Replicas", "memory", "fleet_replica"),
                ],
            },
            {
                "title": "People",
                "items": [
                    _item("Users", "person", "auth_user"),
                    _item("Groups", "group_work", "auth_group"),
                ],
            },
        ],
    },
}
