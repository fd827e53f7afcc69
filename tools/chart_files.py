"""The chart's copies of alert rules and dashboards: a chart reads no file outside itself."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "helm" / "jetmesh" / "files"
SOURCES = {
    "alerts": ROOT / "observability" / "alerts",
    "dashboards": ROOT / "observability" / "grafana" / "dashboards",
}


def files() -> dict[Path, str | None]:
    """What each file of the chart's folder should hold."""
    copies = {
        FOLDER / folder / path.name: path.read_text()
        for folder, source in SOURCES.items()
        for path in sorted(source.iterdir())
    }
    return {**dict.fromkeys(FOLDER.rglob("*.*")), **copies}
