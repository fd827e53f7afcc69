"""The parts of a durable's configuration that a pulling client must follow."""

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]
"""The configuration of a stream or a durable, by JetStream's field names."""


def hold_seconds(config: Config) -> float:
    """How long a delivery may be held before it is delivered again: an operator's back-off counts as well."""
    return float(min([config["ack_wait"], *(config.get("backoff") or ())])) / 1e9
