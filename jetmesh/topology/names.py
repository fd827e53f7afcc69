"""The names that the mesh has on the broker, beside those of its events."""


def timers_of(stream: str) -> str:
    """The timer stream beside the stream of a service."""
    return f"{stream}_TIMERS"


def due_subjects(service: str) -> str:
    """The lane on which what was set aside comes back to a service."""
    return f"due.{service}.>"


DEAD_LETTERS = "DEAD_LETTERS"


DEAD_SUBJECTS = "dead.>"


DEAD_LOG_SUBJECTS = "dead_log.>"
"""Who replayed and discarded what."""


def endpoint_subject(service: str, name: str) -> str:
    """The subject of an endpoint of a service: apart from those that the intake reads."""
    return f"jetmesh.{service}.{name}"
