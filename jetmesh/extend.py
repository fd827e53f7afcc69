"""What an app adds to the runtime's commands: its checks for `jetmesh audit`, its events for `jetmesh load`, its
backing services for `jetmesh dev`, its pages and side effects for `jetmesh console`. Services import nothing of it."""

from jetmesh.console.added import ConsoleItem, ConsolePage
from jetmesh.console.effects import KeyStory, SideEffect, SideEffects
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
    "ConsoleItem",
    "ConsolePage",
    "Interval",
    "KeyStory",
    "Load",
    "SideEffect",
    "SideEffects",
    "Spec",
    "StateFolder",
    "listens",
]
