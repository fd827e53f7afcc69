"""The Python blocks of a page are one module, that can be pasted: it is imported, and its tests run.

`README.md` has the module `hello`; the other pages may import from it.
"""

import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from subprocess import run

import pytest

from tests.docs.pages import Block, blocks
from tests.docs.test_blocks import OF_TWO_TEAMS, QUOTED

OPTIONS = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-o", "pythonpath=.")


def modules() -> dict[str, list[Block]]:
    """The blocks of each page that are executed."""
    found: dict[str, list[Block]] = {}
    for block in blocks("python"):
        if block.name not in QUOTED and block.page != OF_TWO_TEAMS:
            found.setdefault(block.page, []).append(block)
    return found


def module_name(page: str) -> str:
    return "hello" if page == "README.md" else f"test_{Path(page).stem.replace('-', '_')}"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What went wrong in each module, once all of them ran in one pytest."""
    folder = tmp_path_factory.mktemp("pages")
    for page, of_page in modules().items():
        (folder / f"{module_name(page)}.py").write_text("\n\n".join(block.text for block in of_page), "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [sys.executable, "-m", "pytest", *OPTIONS, "--junitxml=report.xml", "-W", "error", "hello.py", "."]
    done = run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300, env=dict(os.environ))
    assert (folder / "report.xml").exists(), done.stdout + done.stderr
    failed: dict[str, list[str]] = {}
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        name = (case.get("classname") or case.get("name") or "").rpartition(".")[2]
        trouble = [child.text or "" for child in case if child.tag in ("failure", "error", "skipped")]
        failed.setdefault(name, []).extend(trouble)
    unfinished = [] if done.returncode in (0, 1) else [done.stdout + done.stderr]
    for page in modules():  # one without tests is imported, and has no case unless that failed
        failed.setdefault(module_name(page), []).extend(unfinished)
    return failed


@pytest.mark.parametrize("page", modules())
def test_the_python_of_a_page_runs(page: str, executed: dict[str, list[str]]) -> None:
    assert executed.get(module_name(page)) == []


def test_a_page_whose_code_is_wrong_fails(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text("from hello import nothing\n")
    done = run([sys.executable, "-m", "pytest", *OPTIONS, "."], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0
