"""Accounts and keys with caps, made over /api/ as an operator makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import httpx

from tests.failures.conftest import Up


@dataclass(frozen=True)
class Cap:
    """`cap` is tokens as a number, or dollars as a string."""

    unit: Literal["tokens", "usd"]
    cap: int | str
    window: str = "balance"


@dataclass(frozen=True)
class Tenant:
    """An account with its caps, and the caps of each of its keys."""

    name: str
    caps: tuple[Cap, ...]
    keys: tuple[tuple[Cap, ...], ...]


@dataclass(frozen=True)
class IssuedKey:
    secret: str
    key_id: str
    tenant: Tenant
    caps: tuple[Cap, ...]

    @property
    def is_capped(self) -> bool:
        return bool(self.caps or self.tenant.caps)


def open_tenants(up: Up, tenants: list[Tenant]) -> list[IssuedKey]:
    with httpx.Client(base_url=f"{up.url}/api/", headers=up.headers, timeout=30) as api:
        return [key for tenant in tenants for key in _open(api, tenant)]


def _open(api: httpx.Client, tenant: Tenant) -> list[IssuedKey]:
    account = _send(api, "POST", "accounts", {"name": tenant.name})["id"]
    _cap(api, f"accounts/{account}", tenant.caps)
    keys = []
    for caps in tenant.keys:
        issued = _send(api, "POST", "keys", {"account": account, "label": "proof"})
        _cap(api, f"keys/{issued['key_id']}", caps)
        keys.append(IssuedKey(issued["secret"], issued["key_id"], tenant, caps))
    return keys


def _cap(api: httpx.Client, owner: str, caps: tuple[Cap, ...]) -> None:
    for cap in caps:
        _send(api, "PUT", f"{owner}/budgets/{cap.unit}", {"cap": cap.cap, "window": cap.window})


def _send(api: httpx.Client, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = api.request(method, path, json=body)
    assert answer.is_success, f"{method} {path} {body}: {answer.text}"
    document: dict[str, Any] = answer.json()
    return document
