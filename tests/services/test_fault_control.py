"""The fault buttons exist where a demo started the console, and nowhere else."""

import pytest

from jetmesh.app import added
from jetmesh.console.added import PAGES
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.fault_control import pages


def test_without_a_demo_the_reference_mesh_adds_no_page() -> None:
    assert added(SERVICES, PAGES) == [pages]
    assert list(pages()) == []


def test_a_demo_tells_its_console_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETMESH_DEMO_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("JETMESH_DEMO_TOKEN", "t" * 24)
    assert [page.path for page in pages()] == ["faults"]
