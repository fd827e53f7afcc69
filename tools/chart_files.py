"""Copy into the chart what it deploys of the repository, alert rules and dashboards: it reads no file outside itself.

With --check nothing is written, and the exit status is 1 where a copy is not what it would be.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ROOT / "deploy" / "helm" / "jetmesh" / "files"
SOURCES = {
    "alerts": ROOT / "observability" / "alerts",
    "dashboards": ROOT / "observability" / "grafana" / "dashboards",
}


def main(arguments: list[str]) -> None:
    """Write the copies, or with --check compare them."""
    wanted, there = copies(), {path: path.read_text() for path in FILES.rglob("*.*")}
    if "--check" in arguments:
        if wanted != there:
            sys.exit("the chart's copies of alerts and dashboards are not current: run `just chart-files`")
        return
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def copies() -> dict[Path, str]:
    """What each file of the chart's folder holds."""
    return {
        FILES / folder / path.name: path.read_text()
        for folder, source in SOURCES.items()
        for path in sorted(source.iterdir())
    }


if __name__ == "__main__":
    main(sys.argv[1:])
