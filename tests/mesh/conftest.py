"""Fixtures of the whole mesh."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jetmesh.testing import MeshOf
from tests.mesh.whole import Whole, whole_mesh


@pytest.fixture
async def whole(mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Whole]:
    """All services at work, with a bank, a mail server and a full shelf."""
    async with whole_mesh(mesh_of, tmp_path, monkeypatch) as whole:
        yield whole
