"""The audit of an app that listens: its causes are in a stream that is not ours."""

from pathlib import Path

from jetmesh.operate import checks
from jetmesh.operate.books import collect
from jetmesh.testing import MeshOf
from tests.support.plant import Reading, alarming


async def test_events_and_letters_of_a_foreign_stream_are_no_offence(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(alarming())
    for body in ({"celsius": 99}, {"celsius": 20}, {"celsius": "warm"}):
        await mesh.publish("telemetry.eu.plant7.line3.temp", body)
    await mesh.dead_letters(1)
    await mesh.settled()
    assert len(await mesh.occurrences(Reading, "plant7")) == 2
    books = await collect(mesh.context, mesh.services, tmp_path)
    assert [letter.position[0] for letter in books.letters] == ["TELEMETRY"]
    assert {result.check: result.offences for result in checks.findings(checks.CHECKS, books) if result.offences} == {}
