"""Write everything that follows from the code and is committed; --check writes nothing and names what is stale.

Run it in the repository: `just generate`. The order counts: the chart's table and its renders follow from its values.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from jetmesh.contracts import generate, package
from jetmesh.operate import flow
from jetmesh_shop.flow import SERVICES
from tools import (
    chart_files,
    chart_readme,
    chart_renders,
    chart_values,
    dashboards,
    keys,
    reference,
    service_lists,
    versions,
)

ROOT = Path(__file__).resolve().parent.parent

Files = Mapping[Path, str | None]
"""What each file should hold; None: it should not be there."""


def contracts() -> Files:
    """Schemas, the AsyncAPI document and its page, types of other languages."""
    found = package.load("jetmesh_contracts")
    wanted = generate.files(found, SERVICES)
    return {**dict.fromkeys(generate.stale(wanted, found.folder)), **wanted}


def tables() -> Files:
    """The flow in the README, the services and their flow in theirs, the keys in SECURITY.md."""
    drawn = {"services": service_lists.markdown(), "flow": f"```mermaid\n{flow.mermaid(SERVICES)}\n```"}
    return {
        ROOT / "README.md": between(ROOT / "README.md", {"flow": flow.markdown(SERVICES)}),
        ROOT / "services" / "README.md": between(ROOT / "services" / "README.md", drawn),
        ROOT / "SECURITY.md": between(ROOT / "SECURITY.md", {"keys": keys.markdown(SERVICES)}),
    }


def between(page: Path, tables: Mapping[str, str]) -> str:
    """The page with each table between `<!-- mark -->` and `<!-- /mark -->`."""
    text = page.read_text()
    for mark, table in tables.items():
        head, begin, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, tail = rest.partition(f"<!-- /{mark} -->")
        if not (begin and end):
            raise ValueError(f"{page.name} has no table between <!-- {mark} --> and <!-- /{mark} -->")
        text = f"{head}{begin}{table.strip()}\n{end}{tail}"
    return text


GENERATORS: Sequence[Callable[[], Files]] = (
    versions.files,
    contracts,
    tables,
    service_lists.files,
    chart_values.files,
    chart_readme.files,
    dashboards.files,
    reference.files,
    chart_files.files,
    chart_renders.files,
)


def main(arguments: Sequence[str]) -> int:
    """Make every file what it should be; with --check, 1 where one is not."""
    only_check = "--check" in arguments
    changed = list(_changed(only_check))
    for file in changed:
        print(f"{'not current' if only_check else 'written'}: {file.relative_to(ROOT)}")
    if shutil.which("helm") is None:
        print("not looked at, for helm is not on the PATH (`just tools helm`): the chart's renders")
    if only_check and changed:
        print("`just generate` brings them up to date")
    return int(only_check and bool(changed))


def _changed(only_check: bool) -> Iterator[Path]:
    for generator in GENERATORS:
        for file, text in generator().items():
            if (file.read_text() if file.is_file() else None) != text:
                if not only_check:
                    _write(file, text)
                yield file


def _write(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
