"""Pin what pyproject.toml names: `make constraints` writes the constraint files, `--check` says what they miss.

The pins come from names and not from `pip freeze`, which would write versions that only one machine can install
(`torch==2.13.0+cpu`). torch stands alone in constraints-cpu.txt, because a GPU host takes a build of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

# pip's own copy: the script must run where nothing is installed yet, since pins that contradict
# pyproject.toml are a reason to run it.
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
PINS = REPOSITORY / "constraints.txt"
PINS_CPU = REPOSITORY / "constraints-cpu.txt"
HEADER = "# Written from the names in pyproject.toml: run `make constraints` to renew, do not edit.\n"


def requirements() -> list[Requirement]:
    """What the project asks for, with every extra but `gpu`, which differs from `cpu` by torch only."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = {name: names for name, names in project["optional-dependencies"].items() if name != "gpu"}
    return [Requirement(name) for names in (project["dependencies"], *extras.values()) for name in names]


def comes_with_torch(name: str) -> bool:
    """Whether a package belongs to one build of torch, and so to no constraint file."""
    named = {canonicalize_name(requirement.name) for requirement in requirements()}
    return name == "torch" or (name not in named and name.startswith(("nvidia-", "cuda-", "triton")))


def resolve() -> dict[str, str]:
    """Ask pip for the newest versions that fit together, whatever is installed here."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        subprocess.run([*command, "--report", report, *map(str, requirements())], check=True)
        found = [package["metadata"] for package in json.loads(report.read_text())["install"]]
    return {canonicalize_name(package["name"]): package["version"].partition("+")[0] for package in found}


def write() -> None:
    versions = resolve()
    pins = [f"{name}=={version}\n" for name, version in sorted(versions.items()) if not comes_with_torch(name)]
    PINS.write_text(HEADER + "".join(pins))
    PINS_CPU.write_text(f"{HEADER}-c {PINS.name}\ntorch=={versions['torch']}\n")
    print(f"{PINS.name}: {len(pins)} packages, {PINS_CPU.name}: torch {versions['torch']}")


def missing() -> list[str]:
    """Every requirement that the constraint files do not pin, or pin to a version it does not accept."""
    lines = [line for path in (PINS, PINS_CPU) for line in path.read_text().splitlines() if "==" in line]
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    return [
        f"{requirement} ({pinned.get(name, 'not pinned')})"
        for requirement in requirements()
        if (name := canonicalize_name(requirement.name)) not in pinned or pinned[name] not in requirement.specifier
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where the files miss something")
    if not parser.parse_args().check:
        write()
    elif gaps := missing():
        print("The constraint files do not fit pyproject.toml, run `make constraints`:", *gaps, sep="\n  ")
        return 1
    else:
        print("The constraint files cover pyproject.toml.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
