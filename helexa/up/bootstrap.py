"""The first rows of an installation: tables, the bootstrap key, the admin's user, the model. A process of its own.

    python -m helexa.up.bootstrap local,local-2

prints one JSON document: {"key", "admin_user", "admin_password", "model"}. Lines on stderr that start with `progress: `
say what is being done, one that starts with `error: ` why it cannot be done. It may be run again and again.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helexa.home import Home, StartError
from helexa.up.model import ECHO, ChosenModel, demo_model, named_model

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ADMIN_USER = "admin"
PROGRESS = "progress: "
ERROR = "error: "
_NEURONS_OF_UP = re.compile(r"local(-\d+)?\Z")


def main(neurons: Sequence[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helexa.settings")
    import django

    django.setup()
    from django.core.exceptions import ImproperlyConfigured, ValidationError
    from django.db import OperationalError

    try:
        result = bootstrap(neurons)
    except OperationalError as error:
        reason = str(error).partition("\n")[0]
        print(f"{ERROR}PostgreSQL cannot be used ({reason}): check DATABASE_URL.", file=sys.stderr)
        return 1
    except ValidationError as error:
        print(f"{ERROR}{' '.join(error.messages)}", file=sys.stderr)
        return 1
    except (StartError, ImproperlyConfigured) as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


def bootstrap(neurons: Sequence[str]) -> dict[str, str]:
    from django.conf import settings
    from django.core.management import call_command

    from accounts.keys import install_bootstrap_key, parse_peppers

    home: Home = settings.HOME
    say_progress("preparing the database")
    call_command("migrate", interactive=False, verbosity=0)
    key = settings.HELEXA_API_KEY or home.make_secret("api_key", prefix="sk-helexa-")
    install_bootstrap_key(key, parse_peppers(settings.HELEXA_KEY_PEPPER))
    password = settings.HELEXA_ADMIN_PASSWORD or home.make_secret("admin_password", length_bytes=12)
    make_admin(password)
    model = choose_model(home)
    put_in_catalogue(model, neurons, remembered=home.path / "catalogued_model")
    return {"key": key, "admin_user": ADMIN_USER, "admin_password": password, "model": model.model_id}


def choose_model(home: Home) -> ChosenModel:
    from django.conf import settings

    if settings.HELEXA_HARNESS == "echo":
        return ECHO
    if settings.HELEXA_MODEL:
        return named_model(settings.HELEXA_MODEL)
    return demo_model(home, say_progress)


def make_admin(password: str) -> User:
    """The user `admin` with that password; the hash is left alone where it is right already."""
    from django.contrib.auth.models import User

    user, _ = User.objects.get_or_create(username=ADMIN_USER)
    user.is_active = user.is_staff = user.is_superuser = True
    if not user.has_usable_password() or not user.check_password(password):
        user.set_password(password)
    user.save()
    return user


def put_in_catalogue(model: ChosenModel, neurons: Sequence[str], *, remembered: Path) -> None:
    """Pin the model on our neurons. What an earlier HELEXA_MODEL pinned there, named in `remembered`, is let go.

    Pins that an operator set, on other neurons or of other models, stay.
    """
    from fleet.models import Profile

    earlier = remembered.read_text().strip() if remembered.exists() else ""
    if earlier != model.model_id:
        for profile in Profile.objects.filter(model_id=earlier):
            profile.pinned_on = _others(profile.pinned_on)
            profile.save(update_fields=["pinned_on"])
        remembered.write_text(model.model_id)
    profile = Profile.objects.filter(model_id=model.model_id).first() or Profile(model_id=model.model_id)
    profile.source, profile.harness = model.source, model.harness
    profile.pinned_on = [*_others(profile.pinned_on), *neurons]
    profile.full_clean()
    profile.save()


def _others(names: Sequence[str]) -> list[str]:
    return [name for name in names if not _NEURONS_OF_UP.match(name)]


def say_progress(text: str) -> None:
    print(f"{PROGRESS}{text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].split(",")))
