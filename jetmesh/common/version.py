"""The version of the installed runtime."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def jetmesh_version() -> str:
    """`0` where it runs without being installed. (To find it, the package's whole description is parsed.)"""
    try:
        return version("jetmesh")
    except PackageNotFoundError:
        return "0"
