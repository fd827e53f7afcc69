"""Pin every version: resolve all groups and extras afresh and write what came out into pyproject.toml."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = ["pyproject.toml", "contracts/pyproject.toml", "services/pyproject.toml"]
MARK = "these lines pin the same versions everywhere.\n"
# What builds our packages, and nkeys, which has no wheel.
BUILD_REQUIREMENTS = "hatchling\nsetuptools\n"

EXPORT = ["--all-packages", "--all-groups", "--all-extras", "--no-emit-workspace", "--no-hashes"]
BARE = ["--no-annotate", "--no-header"]


def main() -> None:
    """Rewrite what follows the mark, and say what moved."""
    project = ROOT / "pyproject.toml"
    written, mark, before = project.read_text().partition(MARK)
    with tempfile.TemporaryDirectory() as folder:
        copy_projects(Path(folder), written + mark)
        constraints = uv(["export", *EXPORT, *BARE], Path(folder))
        build_constraints = uv(["pip", "compile", "--universal", *BARE, "-"], Path(folder), BUILD_REQUIREMENTS)
    after = (
        table("constraint-dependencies", constraints) + "\n" + table("build-constraint-dependencies", build_constraints)
    )
    project.write_text(written + mark + after)
    print_difference(before, after)


def copy_projects(folder: Path, root_project: str) -> None:
    """The workspace without its pins and without its code, which a resolution does not need."""
    for name in PROJECTS:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "pyproject.toml").write_text(root_project)


def uv(arguments: list[str], folder: Path, stdin: str = "") -> list[str]:
    """The requirements that uv prints, one a line."""
    command = ["uv", "--quiet", *arguments]
    done = subprocess.run(command, cwd=folder, input=stdin, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def table(name: str, requirements: list[str]) -> str:
    """A TOML list. Markers only matter where a package has a version for each; else the pin holds everywhere."""
    names = [requirement.partition("==")[0] for requirement in requirements]
    pins = [
        requirement if names.count(package) > 1 else requirement.partition(" ;")[0]
        for package, requirement in zip(names, requirements, strict=True)
    ]
    return f"{name} = [\n" + "".join(f"    {json.dumps(pin)},\n" for pin in pins) + "]\n"


def print_difference(before: str, after: str) -> None:
    """The pins that went and the pins that came."""
    old, new = set(before.splitlines()), set(after.splitlines())
    moved = sorted((line.strip(' ",'), sign) for sign, lines in (("-", old - new), ("+", new - old)) for line in lines)
    print("\n".join(f"{sign} {pin}" for pin, sign in moved) or "nothing moved")


if __name__ == "__main__":
    main()
