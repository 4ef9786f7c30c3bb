"""The first rows: made once, repaired where somebody changed them, careful with what operators did."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.test import RequestFactory

from fleet.models import Profile
from helexa.up.bootstrap import make_admin, put_in_catalogue
from helexa.up.model import ChosenModel, named_model

pytestmark = pytest.mark.django_db

FIRST = ChosenModel("owner/first", "owner/first")
SECOND = ChosenModel("second", "/models/second")


@pytest.fixture
def remembered(tmp_path: Path) -> Path:
    return tmp_path / "catalogued_model"


def pins() -> dict[str, list[str]]:
    return {profile.model_id: profile.pinned_on for profile in Profile.objects.all()}


def test_the_model_is_pinned_on_our_neurons(remembered: Path) -> None:
    for _ in range(2):
        put_in_catalogue(FIRST, ["local", "local-2"], remembered=remembered)
    assert pins() == {"owner/first": ["local", "local-2"]}
    put_in_catalogue(FIRST, ["local"], remembered=remembered)
    assert pins() == {"owner/first": ["local"]}


def test_another_model_lets_go_of_the_first_and_leaves_operators_pins(remembered: Path) -> None:
    Profile.objects.create(model_id="theirs", source="x/theirs", pinned_on=["local"])
    put_in_catalogue(FIRST, ["local"], remembered=remembered)
    Profile.objects.filter(model_id="owner/first").update(pinned_on=["gpu-7", "local"])
    put_in_catalogue(SECOND, ["local"], remembered=remembered)
    assert pins() == {"owner/first": ["gpu-7"], "second": ["local"], "theirs": ["local"]}


def test_the_source_follows_the_setting(remembered: Path) -> None:
    put_in_catalogue(SECOND, ["local"], remembered=remembered)
    put_in_catalogue(ChosenModel("second", "/elsewhere/second"), ["local"], remembered=remembered)
    assert Profile.objects.get().source == "/elsewhere/second"


def test_the_admin_can_sign_in_with_the_present_password() -> None:
    first = make_admin("a first password").password
    assert make_admin("a first password").password == first
    user = make_admin("another password")
    assert user.is_superuser
    request = RequestFactory().post("/admin/login/")
    assert authenticate(request, username="admin", password="another password") == user
    assert authenticate(request, username="admin", password="a first password") is None


@pytest.mark.parametrize(
    ("name", "model_id"),
    [("plain", "plain"), ("With Space (v2)", "With-Space-v2-"), ("tiny.gguf", "tiny")],
)
def test_folders_and_files_are_named_in_the_letters_of_model_ids(tmp_path: Path, name: str, model_id: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"GGUF") if path.suffix == ".gguf" else path.mkdir()
    model = named_model(str(path))
    assert model == ChosenModel(model_id, str(path))
    Profile(model_id=model.model_id, source=model.source).full_clean()


def test_a_hub_id_is_its_own_name() -> None:
    assert named_model("owner/name") == ChosenModel("owner/name", "owner/name")
