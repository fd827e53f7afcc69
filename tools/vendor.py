"""Lay what a page loads into the tree, from npm, with version, licence and integrity; --check holds the files to that.

Run it in the repository: `just vendor`. It needs npm; --check needs nothing, and neither does an installed jetmesh.
"""

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "jetmesh" / "http" / "browser" / "static" / "vendor"
TESTS = ROOT / "tests" / "browser" / "vendor"
RECORD = "vendor.json"
GZIPPED_MAX_BYTES = 150_000

Record = list[dict[str, object]]


@dataclass(frozen=True)
class Package:
    """A package of npm: what is taken of it, under which names, and the licence that it must have."""

    name: str
    version: str
    licence: str
    integrity: str
    files: Mapping[str, str]
    exports: str = ""
    """The name that its script defines and a module is to export."""
    licence_files: tuple[str, ...] = ("LICENSE",)

    @property
    def short(self) -> str:
        return self.name.removeprefix("@").replace("/", "-")


@dataclass(frozen=True)
class Folder:
    """Where packages lie. Modules find one another by the names of their files: a page needs no import map."""

    path: Path
    packages: tuple[Package, ...]
    gzipped_max_bytes: int = 0
    modules: Mapping[str, str] = field(default_factory=dict)


FOLDERS = [
    Folder(
        PAGES,
        (
            Package(
                "preact", "11.2.0", "MIT",
                "sha512-/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==",
                {"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "hooks.js"},
            ),
            Package(
                "@preact/signals-core", "1.14.5", "MIT",
                "sha512-vcRv7Ityz5JVmeiVqIluLFzT/PDS/AlhHUpw3/aUWqcVUs6bDGIPXE/6RSC4evBNWYvnniozg5Syfj33al3gkg==",
                {"dist/signals-core.mjs": "signals-core.js"},
            ),
            Package(
                "@preact/signals", "2.11.4", "MIT",
                "sha512-Rb+5RPo9gWSaHtzJeauhHxiC8KP/IF2DEPkHPEOGOnuy2wnJzRqyeLRankUCYd6ADqtxS6GnWGv6Ie343d8aYw==",
                {"dist/signals.mjs": "signals.js"},
            ),
            Package(
                "htm", "3.1.1", "Apache-2.0",
                "sha512-983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
                {"dist/htm.mjs": "htm.js"},
            ),
            Package(
                "uplot", "1.6.32", "MIT",
                "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
                {"dist/uPlot.iife.min.js": "uplot.js", "dist/uPlot.min.css": "uplot.css"},
                exports="uPlot",
            ),
        ),
        GZIPPED_MAX_BYTES,
        {
            "preact": "./preact.js",
            "preact/hooks": "./hooks.js",
            "@preact/signals-core": "./signals-core.js",
        },
    ),
    Folder(
        TESTS,
        (
            Package(
                "axe-core", "4.14.1", "MPL-2.0",
                "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
                {"axe.min.js": "axe.js"},
                licence_files=("LICENSE", "LICENSE-3RD-PARTY.txt"),
            ),
        ),
    ),
]  # fmt: skip


def main(arguments: list[str]) -> None:
    """Lay everything, or, with --check, end with what is not as it was laid."""
    if arguments == ["--check"]:
        if wrong := [line for folder in FOLDERS for line in differences(folder)]:
            sys.exit("\n".join([*wrong, "run `just vendor`"]))
    elif arguments:
        sys.exit("there is one argument: --check")
    else:
        for folder in FOLDERS:
            lay(folder)


def lay(folder: Folder) -> None:
    """Write the folder anew: the files, the licences and the record of both."""
    folder.path.mkdir(parents=True, exist_ok=True)
    for old in folder.path.iterdir():
        old.unlink()
    record = [_laid(folder, package) for package in folder.packages]
    (folder.path / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    print(f"{folder.path.relative_to(ROOT)}: {', '.join(f'{each.name} {each.version}' for each in folder.packages)}")


def _laid(folder: Folder, package: Package) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as scratch:
        contents = read(package, packed(package, Path(scratch)))
    texts = {to: rewritten(folder, package, contents[name]) for name, to in package.files.items()}
    texts |= {f"{package.short}.{name.removesuffix('.txt')}.txt": contents[name] for name in package.licence_files}
    for name, text in texts.items():
        (folder.path / name).write_text(text)
    hashes = {name: hash_of(text.encode()) for name, text in texts.items()}
    return {**_origin(package), "files": hashes}


def _origin(package: Package) -> dict[str, object]:
    return {
        "name": package.name,
        "version": package.version,
        "licence": package.licence,
        "integrity": package.integrity,
    }


def packed(package: Package, scratch: Path) -> Path:
    """The package's tarball, as npm gives it, with the integrity that is written here."""
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    (tarball,) = scratch.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        sys.exit(f"{package.name} {package.version}: npm's tarball has the integrity sha512-{digest}")
    return tarball


def read(package: Package, tarball: Path) -> dict[str, str]:
    """The files that are taken, by their names in the package. Ends if its licence is another."""
    with tarfile.open(tarball) as archive:

        def text(name: str) -> str:
            file = archive.extractfile(f"package/{name}")
            assert file is not None
            return file.read().decode()

        if (licence := json.loads(text("package.json"))["license"]) != package.licence:
            sys.exit(f"{package.name} {package.version}: its licence is {licence}, not {package.licence}")
        return {name: text(name) for name in (*package.files, *package.licence_files)}


def rewritten(folder: Folder, package: Package, text: str) -> str:
    """The file as a page loads it: with the paths of what it imports, without the name of a map that is not here."""
    text = re.sub(r"\s*//# sourceMappingURL=\S+\s*$", "\n", text)
    for module, path in folder.modules.items():
        text = text.replace(f'from"{module}"', f'from"{path}"')
    return text + f"export default {package.exports};\n" if package.exports and text.startswith("/*!") else text


def differences(folder: Folder) -> Iterator[str]:
    """What is not as it was laid, a line each."""
    record: Record = json.loads((folder.path / RECORD).read_text())
    if [{**each, "files": None} for each in record] != [{**_origin(each), "files": None} for each in folder.packages]:
        yield f"{folder.path.relative_to(ROOT)}: {RECORD} names other packages than tools/vendor.py"
    hashes = {name: digest for each in record for name, digest in dict(each["files"]).items()}  # type: ignore[call-overload]
    there = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.name != RECORD}
    for name in sorted(hashes.keys() | there.keys()):
        if name not in there or hashes.get(name) != hash_of(there[name]):
            yield f"{(folder.path / name).relative_to(ROOT)}: it is not what was laid"
    if (size := gzipped_bytes(folder.path)) > folder.gzipped_max_bytes > 0:
        yield f"{folder.path.relative_to(ROOT)}: {size} bytes gzipped; at most {folder.gzipped_max_bytes}"


def gzipped_bytes(folder: Path) -> int:
    """What a page loads at most: all scripts and styles of the folder, each gzipped."""
    files = [path for path in folder.rglob("*") if path.suffix in (".js", ".css", ".svg")]
    return sum(len(gzip.compress(path.read_bytes(), mtime=0)) for path in files)


def hash_of(data: bytes) -> str:
    """As `integrity` in HTML has it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(data).digest()).decode()


if __name__ == "__main__":
    main(sys.argv[1:])
