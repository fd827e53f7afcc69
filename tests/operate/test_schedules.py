"""What operators and other teams see of a schedule."""

from jetmesh.contracts.asyncapi import document
from jetmesh.jetstream import api
from jetmesh.operate import flow
from jetmesh.operate.findings import CheckContext, Finding, Grade
from jetmesh.operate.schedules import schedules
from jetmesh.testing import LocalMesh, MeshOf
from jetmesh.topology import names
from tests.support.ledger import closing

CRON = "0 18 * * MON-FRI"


async def _finding(mesh: LocalMesh) -> Finding:
    (found,) = [each async for each in schedules(CheckContext(mesh.context.connection, mesh.services, mesh.settings))]
    return found


async def test_the_doctor_says_when_it_is_due_next(mesh_of: MeshOf) -> None:
    found = await _finding(await mesh_of(closing(CRON)))
    assert found.grade is Grade.GOOD
    assert found.found.startswith(f"ledger.close: {CRON} Europe/Berlin, next at 20")


async def test_the_doctor_finds_a_schedule_that_is_lost_or_another_versions(mesh_of: MeshOf) -> None:
    service = closing(CRON)
    mesh = await mesh_of(service)
    await mesh.stop(service)
    other = await mesh_of(closing("0 9 * * *"), start=False)
    found = await _finding(other)
    assert found.found == f"ledger.close: the broker has {CRON} Europe/Berlin, and declared is 0 9 * * * Europe/Berlin"
    subject = names.schedule("ledger", "close")
    await api.request(mesh.context.connection, "STREAM.PURGE.LEDGER_TIMERS", {"filter": subject}, strict=True)
    found = await _finding(mesh)
    assert (found.grade, found.fix.partition(";")[0]) == (Grade.WRONG, "start it: `jetmesh run ledger`")


def test_flow_and_asyncapi_show_it() -> None:
    service = closing(CRON)
    assert f"| {CRON} Europe/Berlin | **ledger.close**: It is time: close the books. | ledger.closed |" in (
        flow.markdown([service])
    )
    assert f'ledger_close_schedule{{{{"{CRON} Europe/Berlin"}}}} --> ledger_close' in flow.mermaid([service])
    said = document({"title": "t", "version": "1"}, {}, [service])["x-jetmesh-schedules"]["ledger.close"]
    assert (said["cron"], said["zone"], said["x-jetmesh-may-record"]) == (CRON, "Europe/Berlin", ["ledger.closed"])
