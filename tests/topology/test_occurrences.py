"""Occurrences have a fourth token in their subjects: streams, durables, permissions and partitions follow."""

import pytest

from jetmesh import Service
from jetmesh.app import App
from jetmesh.contracts.schema import facts
from jetmesh.testing import MeshOf
from jetmesh.topology.accounts import imports_of
from jetmesh.topology.streams import topology
from tests.support.chat import MessageSent, RoomOpened, SenderSeen, Tallied, chat, sending
from tests.support.operators import config_of


def opening() -> Service:
    """An older version, which has no occurrences."""
    service = Service("chat")

    @service.on
    async def see(opened: RoomOpened) -> SenderSeen | None:
        """A room was opened: nobody was seen yet."""
        return None

    return service


async def test_streams_durables_and_permissions_have_the_fourth_token() -> None:
    service = chat()
    needed = topology([service])
    (stream,) = [stream for stream in needed.streams if stream.name == "CHAT"]
    assert stream.config["subjects"] == ["chat.*.*", "chat.*.*.*"]
    filters = {consumer.durable: consumer.subjects for consumer in needed.consumers}
    assert filters["chat-count"] == ("chat.message_sent.*.*",)
    granted = {each.subject for each in imports_of(service, [service])}
    assert {"chat.message_sent.*.*", "chat.tallied.*.*", "chat.tally.*", "chat.sender_seen.*"} <= granted


def test_a_contract_says_of_which_kind_it_is() -> None:
    sent, tallied, opened = facts(MessageSent), facts(Tallied), facts(RoomOpened)
    assert (sent["subject"], sent["occurrence"], sent["id"]) == (
        "chat.message_sent.{room_id}.{message_id}", True, "message_id",
    )  # fmt: skip
    assert (tallied["subject"], tallied["id"]) == ("chat.tallied.{room_id}.{id}", "")
    assert (opened["subject"], "occurrence" in opened) == ("chat.opened.{room_id}", False)


async def test_a_stream_that_is_there_is_carried_over(mesh_of: MeshOf) -> None:
    service = sending()
    mesh = await mesh_of(service, start=False)
    mesh.services = App([opening()], ())
    await mesh.apply()
    await mesh.record(RoomOpened(room_id="room-7"))
    mesh.services = App([service], ())
    await mesh.apply()
    assert sorted((await config_of(mesh, "STREAM.INFO.CHAT"))["subjects"]) == ["chat.*.*", "chat.*.*.*"]
    await mesh.start(service)
    await mesh.outside(MessageSent(room_id="room-7", message_id="m-1"))
    await mesh.settled()
    assert await mesh.count("CHAT") == 2


def test_what_records_several_events_can_not_be_split() -> None:
    with pytest.raises(ValueError, match=r"CHAT can't be split: chat\.count commits events of many keys at once"):
        topology([chat()], split={"CHAT": 2})
