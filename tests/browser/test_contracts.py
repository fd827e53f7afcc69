"""The contracts of a demo are kept on its broker, as those of a mesh that was deployed."""

import httpx

from jetmesh.testing import until
from tests.browser.demo import Demo


async def test_the_console_of_a_demo_says_which_contracts_its_broker_keeps(running: Demo) -> None:
    async with httpx.AsyncClient(base_url=running.console_url, timeout=20) as browser:

        async def are_kept() -> bool:
            return "as here, by <bdi>shop</bdi>" in (await browser.get("/contracts/orders.placed")).text

        await until(are_kept, 60)
        assert "This broker keeps no contracts" not in (await browser.get("/contracts")).text
