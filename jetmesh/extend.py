"""What an app adds to the runtime's commands: its checks for `jetmesh audit`, its events for `jetmesh load`, its
backing services for `jetmesh dev`. Services import nothing of it."""

from jetmesh.local.backing import Backing, BackingServices
from jetmesh.local.plan import listens
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.operate.audit import AppAudit
from jetmesh.operate.books import Books
from jetmesh.operate.load import Interval, Load

__all__ = [
    "AppAudit",
    "Backing",
    "BackingServices",
    "Books",
    "Interval",
    "Load",
    "Spec",
    "StateFolder",
    "listens",
]
