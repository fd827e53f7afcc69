"""`python -m jetmesh` is the command `jetmesh`."""

from jetmesh.commands import main

main()
