"""The example of middlewares, on a real broker."""

import logging

import pytest

from examples.middlewares import SECONDS, SERVICES, PrintAsked, Printed
from jetmesh.testing import MeshOf


async def test_each_middleware_of_the_example_does_what_it_says(
    mesh_of: MeshOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "examples.audit")
    SECONDS.clear()
    mesh = await mesh_of(*SERVICES, middlewares=SERVICES.middlewares)
    asked = PrintAsked(print_id="p-1")
    await mesh.publish("requests.asked.p-1", asked.model_dump_json(), {"Tenant": "acme"})
    assert (await mesh.recorded(Printed, "p-1")).tenant == "acme"
    await mesh.settled()
    assert SECONDS["print_it"] > 0
    assert "recorded (Printed(print_id='p-1', tenant='acme'),)" in caplog.text


async def test_what_a_middleware_raises_is_the_reactions_own_error(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(*SERVICES, middlewares=SERVICES.middlewares)
    await mesh.publish("requests.asked.p-2", PrintAsked(print_id="p-2").model_dump_json())
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reaction"] == "print_it"
    assert letter.headers["Jetmesh-Reason"] == "header Tenant: missing (raised by the middleware tenant)"
