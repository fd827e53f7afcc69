"""What a part tells the display: what begins now, or what it needs and does not find."""

from collections.abc import Callable

Step = Callable[[str], None]
"""Called with what begins now."""


class Missing(RuntimeError):
    """What the part needs is not on this machine; the text says how it would get there."""
