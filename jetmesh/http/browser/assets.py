"""The files that pages load, in memory: under a path with the digest of all, so that browsers keep them for good."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
TYPES = MappingProxyType({
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
})  # fmt: skip
FOR_GOOD = "public, max-age=31536000, immutable"
GZIPPED_FROM_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    gzipped: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, path: Path) -> "Asset":
        """The file."""
        content = path.read_bytes()
        gzipped = gzip.compress(content, mtime=0) if len(content) >= GZIPPED_FROM_BYTES else b""
        return cls(content, gzipped, TYPES[path.suffix], f'"{_digest(content)}"')


class Assets:
    """The files of jetmesh's pages (`base/…`, `vendor/…`) and of an app's own folders, each under its name.

    Modules import one another by relative paths: they have the digest of the page that they belong to. A page that was
    loaded from an older version gets what is there now, and keeps it no longer than its visit.
    """

    def __init__(self, **folders: Path) -> None:
        places = {"base": STATIC / "base", "vendor": STATIC / "vendor", **folders}
        self._assets = {f"{name}/{file}": Asset.of(path) for name, at in places.items() for file, path in _files(at)}
        told = "".join(f"{name}{asset.etag}" for name, asset in sorted(self._assets.items()))
        self.digest = _digest(told.encode())

    def url(self, name: str) -> str:
        """The path of a file, such as `base/base.css`.

        Raises:
            KeyError: there is none of this name.
        """
        if name not in self._assets:
            raise KeyError(f"no asset {name!r}: there are {', '.join(sorted(self._assets))}")
        return f"/assets/{self.digest}/{name}"

    def route(self) -> Route:
        """What serves them, as Starlette and FastAPI take it."""
        return Route("/assets/{digest}/{name:path}", self._answer, methods=["GET"], include_in_schema=False)

    async def _answer(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            return Response(status_code=404)
        is_current = request.path_params["digest"] == self.digest
        headers = {"ETag": asset.etag, "Cache-Control": FOR_GOOD if is_current else "no-cache"}
        headers["Vary"] = "Accept-Encoding"
        if asset.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if asset.gzipped and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.gzipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media_type)
        return Response(asset.content, headers=headers, media_type=asset.media_type)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in TYPES:
            yield path.relative_to(folder).as_posix(), path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
