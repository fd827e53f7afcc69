"""The version of the installed runtime."""

from importlib.metadata import PackageNotFoundError, version


def jetmesh_version() -> str:
    """`0` where it runs without being installed."""
    try:
        return version("jetmesh")
    except PackageNotFoundError:
        return "0"
