"""What a reaction raises ends as a dead letter of its delivery, whatever it is: no process ends, and nothing stays in
flight for ever."""

import pytest

from jetmesh.testing import MeshOf
from tests.support import computing
from tests.support.jobs import Asked

REACTIONS = [reaction.name for reaction in computing.failing.reactions]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", "SystemExit(3)"),
        ("stop", "StopIteration"),
        ("cancelled", "CancelledError()"),
        ("awkward", "an error: with two arguments"),
    ],
)
async def test_every_form_survives_it(mesh_of: MeshOf, how: str, words: str) -> None:
    mesh = await mesh_of(computing.failing, JETMESH_POOL_PROCESSES="1")
    await mesh.record(Asked(job_id=how))
    await mesh.record(Asked(job_id="good"))
    letters = await mesh.dead_letters(len(REACTIONS), 60)
    await mesh.settled()
    reasons = {letter.headers["Jetmesh-Reaction"]: letter.headers["Jetmesh-Reason"] for letter in letters}
    assert len(reasons) == len(REACTIONS)
    assert all(words in reason for reason in reasons.values()), reasons
