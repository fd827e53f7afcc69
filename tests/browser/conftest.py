"""One demo for all tests of a process; its spans go on to a Jaeger, where there is one."""

from collections.abc import Iterator

import pytest

from jetmesh.testing.jaeger import Jaeger
from tests.browser.demo import Demo, demo
from tests.support.programs import found


@pytest.fixture(scope="session")
def jaeger_of_all() -> Iterator[Jaeger | None]:
    if not (path := found("jaeger")):
        yield None
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JETMESH_JAEGER", path)
        with Jaeger() as jaeger:
            yield jaeger


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, jaeger_of_all: Jaeger | None) -> Iterator[Demo]:
    sent_on = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{jaeger_of_all.otlp_http}/v1/traces"} if jaeger_of_all else {}
    with demo(tmp_path_factory.mktemp("shop"), sent_on) as up:
        yield up
