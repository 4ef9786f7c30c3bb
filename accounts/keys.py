"""Making, revoking and recognising API keys. The digest rules are plain functions; the rest writes rows."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import transaction
from django.utils import timezone

from accounts.accounts import check_open, open_account, resume_account
from accounts.authors import sign
from accounts.booking.operations import Author
from accounts.budgets import lift_cap
from accounts.models import Account, ApiKey, Budget
from accounts.models.api_key import EXPIRY_PASSED

#: So that a secret scanner and a person recognise it; 32 random bytes follow.
PREFIX = "sk-helexa-"

#: A bootstrap key may be any string, but not one that can be guessed.
MIN_SECRET_CHARACTERS = 16

#: Pepper ids live in a smallint.
MAX_PEPPER_ID = 32767

#: Who installs HELEXA_API_KEY.
BOOTSTRAP = Author("start of helexa")


def parse_peppers(setting: str) -> dict[int, bytes]:
    """The peppers of HELEXA_KEY_PEPPER by id, newest first: one secret (id 1), or `2:new,1:old` after a rotation."""
    if not setting:
        raise ImproperlyConfigured(
            "HELEXA_KEY_PEPPER is not set: keys cannot be checked without it. Run `make up` once, which makes "
            "one, or set the pepper of the installation."
        )
    peppers: dict[int, bytes] = {}
    for part in setting.split(","):
        number, separator, secret = part.strip().partition(":")
        if not separator or not number.isdecimal():
            number, secret = "1", part.strip()
        if not secret or int(number) in peppers or int(number) > MAX_PEPPER_ID:
            raise ImproperlyConfigured(
                "HELEXA_KEY_PEPPER must be one secret, or `id:secret` parts with different ids up to "
                f"{MAX_PEPPER_ID}, separated by commas."
            )
        peppers[int(number)] = secret.encode()
    return peppers


def digest(secret: str | bytes, pepper: bytes) -> bytes:
    """HMAC-SHA256 of a key's secret. A fast hash is right: the secret is random and long, not a password."""
    return hmac.digest(pepper, secret if isinstance(secret, bytes) else secret.encode(), sha256)


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def seal(key: ApiKey, secret: str, peppers: Mapping[int, bytes]) -> None:
    """Make `key` the key of that secret, under the newest pepper. The row keeps the digest alone."""
    key.pepper_id = next(iter(peppers))
    key.digest = digest(secret, peppers[key.pepper_id])


def split_model_ids(text: str) -> list[str]:
    """The model ids of a list typed with commas or one a line, each once and in the order given."""
    ids = (part.strip() for part in text.replace("\n", ",").split(","))
    return list(dict.fromkeys(model_id for model_id in ids if model_id))


def issue_key(
    *,
    account: Account,
    peppers: Mapping[int, bytes],
    label: str = "",
    scope: str = ApiKey.Scope.INFERENCE,
    allowed_models: Sequence[str] = (),
    expires_at: datetime | None = None,
    secret: str | None = None,
    created_by: User | None = None,
    author: Author | None = None,
) -> tuple[ApiKey, str]:
    """A new key of the account and its secret, which is shown once and kept nowhere.

    Raises ValidationError naming the field for a bad label, scope, model or date, and for a closed account.
    """
    check_open(account)
    secret = secret or new_secret()
    key = ApiKey(
        account=account,
        label=label,
        scope=scope,
        allowed_models=list(allowed_models),
        expires_at=expires_at,
        created_by=created_by,
    )
    seal(key, secret, peppers)
    key.full_clean()
    sign(key, author)
    key.save()
    return key, secret


@transaction.atomic
def change_key(key: ApiKey, *, author: Author, **fields: Any) -> ApiKey:
    """Give the key another `label`, `allowed_models` or `expires_at`; what is not named stays as it is.

    Raises ValidationError naming the field.
    """
    row = ApiKey.objects.select_for_update(no_key=True, of=("self",)).select_related("account").get(pk=key.pk)
    changed = [name for name, value in fields.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, fields[name])
    if "expires_at" in changed and row.expires_at is not None and row.expires_at <= timezone.now():
        raise ValidationError({"expires_at": EXPIRY_PASSED})
    if changed:
        row.full_clean()
        sign(row, author)
        row.save(update_fields=changed)
    return row


@transaction.atomic
def revoke_key(key: ApiKey, *, author: Author | None = None, reason: str = "") -> bool:
    """Make the key refuse from now on, everywhere. False if it was revoked already."""
    # NO KEY UPDATE: whoever books holds a key-share lock of the key that its entries name.
    row = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    if row.revoked_at is not None:
        return False
    row.revoked_at = timezone.now()
    sign(row, author, reason)
    row.save(update_fields=["revoked_at"])
    return True


def find_key(secret: str | bytes, peppers: Mapping[int, bytes]) -> ApiKey | None:
    """The key with that secret, whatever its state."""
    digests = [digest(secret, pepper) for pepper in peppers.values()]
    return ApiKey.objects.select_related("account").filter(digest__in=digests).first()


@transaction.atomic
def install_bootstrap_key(secret: str, peppers: Mapping[int, bytes]) -> ApiKey:
    """Make HELEXA_API_KEY valid, never expiring, scope operator, on account `default`; revoke an earlier one.

    The earlier key is known by a mark of its own, not by its label: labels are anybody's to choose and change.
    """
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise ImproperlyConfigured(f"HELEXA_API_KEY must have {MIN_SECRET_CHARACTERS} characters or more.")
    account = open_account("default")
    resume_account(account)
    key = find_key(secret, peppers)
    for earlier in ApiKey.objects.filter(is_bootstrap=True).exclude(digest=key.digest if key else b""):
        revoke_key(earlier, author=BOOTSTRAP, reason="another key took its place")
        ApiKey.objects.filter(pk=earlier.pk).update(is_bootstrap=False)
    if key is None:
        key, _ = issue_key(account=account, peppers=peppers, label="bootstrap", secret=secret)
    return _restore(key, account)


def _restore(key: ApiKey, account: Account) -> ApiKey:
    """Give the bootstrap key back what it must have. Only a difference is written: not every start is history."""
    wanted = {
        "account": account,
        "scope": ApiKey.Scope.OPERATOR,
        "is_bootstrap": True,
        "allowed_models": [],
        "expires_at": None,
        "revoked_at": None,
    }
    changed = [name for name, value in wanted.items() if getattr(key, name) != value]
    for name in changed:
        setattr(key, name, wanted[name])
    if changed:
        sign(key, BOOTSTRAP, "made valid at start")
        key.save(update_fields=changed)
    for unit in Budget.Unit:
        lift_cap(key, unit, author=BOOTSTRAP, reason="uncapped at start")
    return key
