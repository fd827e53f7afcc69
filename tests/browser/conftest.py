"""One demo for all tests of a process."""

from collections.abc import Iterator

import pytest

from tests.browser.demo import Demo, demo


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("shop")) as up:
        yield up
