"""What a part tells the display while it runs."""

from collections.abc import Callable

Step = Callable[[str], None]
"""Called with what begins now."""
