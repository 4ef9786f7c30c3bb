"""Making, revoking and recognising API keys. The digest rules are plain functions; the rest writes rows."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from accounts.models import Account, ApiKey

#: So that a secret scanner and a person recognise it; 32 random bytes follow.
PREFIX = "sk-helexa-"

#: A bootstrap key may be any string, but not one that can be guessed.
MIN_SECRET_CHARACTERS = 16

#: Pepper ids live in a smallint.
MAX_PEPPER_ID = 32767


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
) -> tuple[ApiKey, str]:
    """A new key of the account and its secret, which is shown once and kept nowhere.

    Raises ValidationError naming the field for a bad label, scope, model or date.
    """
    secret = secret or new_secret()
    key = ApiKey(
        account=account,
        label=label,
        scope=scope,
        allowed_models=list(allowed_models),
        expires_at=expires_at,
    )
    seal(key, secret, peppers)
    key.full_clean()
    key.save()
    return key, secret


def revoke_key(key: ApiKey) -> bool:
    """Make the key refuse from now on, everywhere. False if it was revoked already."""
    return ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()) == 1


def find_key(secret: str, peppers: Mapping[int, bytes]) -> ApiKey | None:
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
    account, _ = Account.objects.update_or_create(name="default", defaults={"suspended_at": None})
    key = find_key(secret, peppers)
    earlier = ApiKey.objects.filter(is_bootstrap=True).exclude(digest=key.digest if key else b"")
    earlier.filter(revoked_at=None).update(revoked_at=timezone.now())
    earlier.update(is_bootstrap=False)
    if key is None:
        key, _ = issue_key(account=account, peppers=peppers, label="bootstrap", secret=secret)
    key.account, key.scope, key.is_bootstrap = account, ApiKey.Scope.OPERATOR, True
    key.allowed_models, key.expires_at, key.revoked_at = [], None, None
    key.save(update_fields=["account", "scope", "is_bootstrap", "allowed_models", "expires_at", "revoked_at"])
    return key
