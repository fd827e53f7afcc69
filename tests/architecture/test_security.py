"""SECURITY.md says what each key may do: as it is declared, line by line."""

import re
from pathlib import Path

from jetmesh.topology import accounts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()


def test_the_limits_are_those_that_are_set() -> None:
    limits = re.findall(r"[\d,]+", PAGE.partition("**Limits.**")[2].partition("nats-server has")[0])
    said = [int(number.replace(",", "")) for number in limits if number != ","]
    assert said == [accounts.OUTSIDE.connections, accounts.OUTSIDE.subscriptions, 1, accounts.SERVICE.connections]
    assert accounts.OUTSIDE.payload_bytes == 1 << 20


def test_every_setting_and_link_of_the_page_is_there() -> None:
    from jetmesh.settings import Settings, variable

    named = set(re.findall(r"JETMESH_\w+", PAGE)) - {"JETMESH_HTTP_SECRET"}
    assert named <= {variable(Settings, name) for name in Settings.model_fields}
    for target, anchor in re.findall(r"\]\(([^)#]+)#?([^)]*)\)", PAGE):
        headings = re.findall(r"^#+ (.*)$", (ROOT / target).read_text(), re.MULTILINE)
        assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
