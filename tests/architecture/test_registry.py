"""The flow names the services, and everything that names them besides says the same."""

import re
from pathlib import Path

import pytest
import yaml

from jetmesh_shop.flow import SERVICES
from tools.service_lists import COMPOSE, LISTS, NAMES, with_containers, with_lists

ROOT = Path(__file__).resolve().parents[2]


def test_every_service_has_a_folder_and_every_folder_with_a_service_is_in_the_flow() -> None:
    folders = {path.parent.name for path in (ROOT / "services/jetmesh_shop").glob("*/service.py")}
    assert folders == set(NAMES)


@pytest.mark.parametrize("file", LISTS)
def test_a_list_of_services_that_is_not_there_any_more_is_named(file: str) -> None:
    text = (ROOT / file).read_text()
    for place in LISTS[file]:
        without = re.sub(place, "", text)
        with pytest.raises(ValueError, match="0 lists of services"):
            with_lists(without, {place: LISTS[file][place]})


def test_compose_runs_every_service() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    running = {name for name, said in compose.items() if re.search(rf"run\W+{name}\b", str(said.get("command")))}
    assert running == set(NAMES)


def test_a_new_service_gets_a_container_of_its_own() -> None:
    text = with_containers(COMPOSE.read_text(), [*NAMES, "loyalty"])
    added = yaml.safe_load(text)["services"]["loyalty"]
    assert (added["command"], added["volumes"]) == (["run", "loyalty"], ["keys-loyalty:/run/keys:ro"])
    assert with_containers(text, [*NAMES, "loyalty"]) == text


def test_the_chart_runs_every_service_of_its_app() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/jetmesh/values.yaml").read_text())
    assert (chart["app"], list(chart["services"])) == ("jetmesh_shop.flow:SERVICES", [each.name for each in SERVICES])
