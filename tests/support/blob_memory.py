"""A program that stores an object of so many megabytes, reads it again, and says how much memory that took."""

import asyncio
import resource
import sys

import jetmesh
from tests.support.documents import Uploaded, noise


async def main(url: str, megabytes: int) -> None:
    async with jetmesh.connect(url) as mesh:
        await mesh.blobs.put(Uploaded, noise(1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        blob = await mesh.blobs.put(Uploaded, noise(megabytes))
        read = sum([len(piece) async for piece in mesh.blobs.read(blob)])
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        sys.stdout.write(f"{blob.size} {read} {grown * 1024}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
