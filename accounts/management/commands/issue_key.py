from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from accounts.accounts import open_account
from accounts.booking.operations import Limits
from accounts.budgets import Owner, set_limits
from accounts.client_settings import CLIENTS, Paste, settings_for
from accounts.keys import issue_key, parse_peppers, split_model_ids
from accounts.management.operator_command import OperatorCommand, operator
from accounts.models import ApiKey, Budget
from accounts.typed import describe_window, format_amount, parse_amount, parse_window
from helexa.usd import format_usd

Unit = Budget.Unit

WINDOWS = "balance|rolling:SECONDS|calendar:day|week|month[@Area/City]"


@dataclass(frozen=True)
class Caps:
    """The caps of one owner as they were typed, and what they mean."""

    tokens: int | None
    nano_usd: int | None
    window: str | None
    limits: dict[str, Limits]


class Command(OperatorCommand):
    help = "Issue an API key, for an account that is made if there is none of this name."
    example = """\
examples:
  python manage.py issue_key --account chemistry --label "nightly batch" --models qwen3-4b --expires 2027-01-31
  python manage.py issue_key --account chemistry --cap 200000 --window calendar:day@Europe/Berlin --account-cap-usd 50

  python manage.py issue_key --account chemistry --for claude-code --model qwen3-4b --url https://helexa.example.org

Caps without a prefix are the key's own; without one of its own a key is held to its account's alone, if it has any.
The secret is printed once and kept nowhere. --json prints one document, so that a script can take the key:
  python manage.py issue_key --account chemistry --json > key.json
"""
    options = {
        "name": "--account",
        "account": "--account",
        "label": "--label",
        "scope": "--scope",
        "allowed_models": "--models",
        "expires_at": "--expires",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", required=True, metavar="NAME", help="whom the key belongs to")
        parser.add_argument("--label", default="", metavar="L", help="what the key is for, in your words")
        parser.add_argument("--models", metavar="A,B", help="the only models it may use (default: every model)")
        parser.add_argument(
            "--expires", metavar="ISO", help="date or moment, in UTC unless it has an offset (default: never)"
        )
        parser.add_argument(
            "--scope",
            default=str(ApiKey.Scope.INFERENCE),
            metavar="|".join(ApiKey.Scope.values),
            help="what it may do; each scope includes the ones before it (default: inference)",
        )
        parser.add_argument(
            "--for", dest="client", choices=CLIENTS, help="also print what this client needs, ready to paste"
        )
        parser.add_argument(
            "--url", metavar="URL", help="the gateway's, in what --for prints (default: this machine's)"
        )
        parser.add_argument("--model", metavar="ID", help="the model in what --for prints (default: first of --models)")
        for prefix, whose in (("", "the key"), ("account-", "the account")):
            parser.add_argument(f"--{prefix}cap", metavar="TOKENS", help=f"the most tokens that {whose} may use")
            parser.add_argument(f"--{prefix}cap-usd", metavar="USD", help=f"the most dollars that {whose} may spend")
            parser.add_argument(
                f"--{prefix}window", metavar=WINDOWS, help=f"when the caps of {whose} start anew (default: balance)"
            )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> None:
        caps, account_caps = _caps(options, ""), _caps(options, "account_")
        key, secret = self._issue(options, caps, account_caps)
        if key.account.suspended:
            self.stderr.write(f"Account {key.account} is suspended: the key will work once it is resumed.")
        pastes = _pastes(options, key, secret)
        if options["json"]:
            told = {"settings": [{"where": paste.where, "text": paste.text} for paste in pastes]} if pastes else {}
            self.print_json({**_document(key, secret, caps), **told})
            return
        self._show(key, secret, caps)
        for paste in pastes:
            self.say(f"\n# {paste.where}\n{paste.text}")

    @staticmethod
    def _issue(options: dict[str, Any], caps: Caps, account_caps: Caps) -> tuple[ApiKey, str]:
        peppers = parse_peppers(settings.HELEXA_KEY_PEPPER)
        allowed_models, expires_at = _models(options["models"]), _moment(options["expires"])
        author = operator()
        with transaction.atomic():  # no account stays behind when its key is refused
            key, secret = issue_key(
                account=open_account(options["account"]),
                peppers=peppers,
                label=options["label"].strip(),
                scope=options["scope"],
                allowed_models=allowed_models,
                expires_at=expires_at,
                author=author,
            )
            for owner, wanted in ((key, caps), (key.account, account_caps)):
                _give(owner, wanted)
        return key, secret

    def _show(self, key: ApiKey, secret: str, caps: Caps) -> None:
        self.print_facts(
            {
                "key id": key.key_id,
                "account": key.account.name,
                "label": key.label or "–",
                "scope": key.scope,
                "models": ", ".join(key.allowed_models) or "every model",
                "expires": f"{key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "never",
                "caps": _told(caps),
            }
        )
        self.console.print(f"\n{secret}\n", markup=False, soft_wrap=True)
        self.console.print("Copy the secret now: it is kept nowhere and cannot be shown again.")


def _pastes(options: dict[str, Any], key: ApiKey, secret: str) -> list[Paste]:
    """The settings of the client that was named, none without one."""
    if options["client"] is None:
        return []
    host = "127.0.0.1" if settings.HELEXA_HOST in ("0.0.0.0", "::") else settings.HELEXA_HOST  # noqa: S104 - not bound
    url = options["url"] or f"http://{host}:{settings.HELEXA_PORT}"
    model = options["model"] or next(iter(key.allowed_models), "MODEL")
    return settings_for(options["client"], url=url.rstrip("/").removesuffix("/v1"), key=secret, model=model)


def _caps(options: dict[str, Any], prefix: str) -> Caps:
    """The caps of the key, or of the account. Raises CommandError naming the option."""
    cap, usd, window = (options[prefix + name] for name in ("cap", "cap_usd", "window"))
    if window is not None and cap is None and usd is None:
        raise CommandError(f"{_option(prefix, 'window')}: a window is for a cap; give one as well.")
    try:
        kind, seconds, zone = parse_window("balance" if window is None else window, field=_option(prefix, "window"))
        tokens = None if cap is None else parse_amount(cap, Unit.TOKENS, field=_option(prefix, "cap"))
        nano_usd = None if usd is None else parse_amount(usd, Unit.NANO_USD, field=_option(prefix, "cap-usd"))
    except ValidationError as error:
        ((option, (sentence,)),) = error.message_dict.items()
        raise CommandError(f"{option}: {sentence}") from None
    wanted = ((Unit.TOKENS, tokens), (Unit.NANO_USD, nano_usd))
    limits = {unit.value: Limits(amount, kind, seconds, zone) for unit, amount in wanted if amount is not None}
    typed = (window or "balance") if limits else None
    return Caps(tokens, nano_usd, typed, limits)


def _option(prefix: str, name: str) -> str:
    return f"--{prefix.replace('_', '-')}{name}"


def _give(owner: Owner, caps: Caps) -> None:
    for unit, limits in caps.limits.items():
        set_limits(owner, unit, limits, author=operator(), reason="issue_key")


def _models(text: str | None) -> list[str]:
    """An empty list would mean every model, which a script with an empty variable does not."""
    models = split_model_ids(text or "")
    if text is not None and not models:
        raise CommandError("--models: name at least one model, or leave the option out for every model.")
    return models


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"--expires: {text!r} is no ISO date; write it as 2027-01-31T18:00.") from None


def _document(key: ApiKey, secret: str, caps: Caps) -> dict[str, Any]:
    return {
        "key": secret,
        "key_id": key.key_id,
        "account": key.account.name,
        "label": key.label,
        "scope": key.scope,
        "models": key.allowed_models,
        "expires": key.expires_at.isoformat() if key.expires_at else None,
        "cap": caps.tokens,
        "cap_usd": None if caps.nano_usd is None else format_usd(caps.nano_usd),
        "window": caps.window,
    }


def _told(caps: Caps) -> str:
    amounts = [
        f"{format_amount(limits.cap, unit)}, {describe_window(limits)}"
        for unit, limits in caps.limits.items()
        if limits.cap is not None
    ]
    return "; ".join(amounts) or "none of its own"
