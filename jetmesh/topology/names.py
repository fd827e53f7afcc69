"""The names of the mesh on the broker besides those of events: streams, and the subjects in them.

A message that stands for another one (a dead letter, a timer, what comes back from one) has the same tokens behind its
first: whose reaction had which message (`jetmesh.runtime.origin`).
"""

from jetmesh.blob import bucket_stream

DEAD_LETTERS = "DEAD_LETTERS"
DEAD_SUBJECTS = "dead.>"
DEAD_LOG_SUBJECTS = "dead_log.>"
"""The record of who replayed or discarded which dead letter."""
LETTERS = "letters"
"""The durable that counts the dead letters; where an app has a name, it has one of its own (`letters-<app>`)."""
NO_LETTER = "dead.none"
"""A subject that no dead letter has."""
RESTORING = "JETMESH_RESTORING"
"""A stream that exists while a backup is restored (`jetmesh.operate.backup`)."""
RESTORING_SUBJECT = "jetmesh.restoring"
APPS_BUCKET, CONTRACTS_BUCKET = "jetmesh_apps", "jetmesh_contracts"
"""The KV buckets of what is deployed on a broker."""
TIMERS = "timers.>"
"""All that waits for its time, and the notes of last attempts that began."""
BEGUN = "begun"
"""In a timer's subject, in the place of the reaction: the note of a last attempt that began. It waits for nothing."""

SCHEDULED = "by-schedule"
"""In a timer's subject, in the place of the reaction: a schedule, and the time up to which its ticks are handed out."""


def timers_of(stream: str) -> str:
    """The stream of a service's delayed redeliveries."""
    return f"{stream}_TIMERS"


def claims_of(stream: str) -> str:
    """The stream of idempotency keys of a service."""
    return f"{stream}_CLAIMS"


def limits_of(stream: str) -> str:
    """The stream of the rate limits of a service."""
    return f"{stream}_LIMITS"


def blobs_of(stream: str) -> str:
    """The stream of the objects that a service's events name."""
    return bucket_stream(stream)


BESIDE = (timers_of, claims_of, limits_of, blobs_of)
"""The streams that a service may have beside that of its events."""


def closed_subject(stream: str) -> str:
    """What a stream listens to while it is being restored: nothing that anybody publishes."""
    return f"{RESTORING_SUBJECT}.{stream}"


def dead_letter(origin: str) -> str:
    """The subject of the dead letter about a message."""
    return f"dead.{origin}"


def dead_letters_of(whose: str) -> str:
    """The subjects of all dead letters of a service, or of one reaction (`payments.authorize`)."""
    return f"dead.{whose}.>"


def letters_about(service: str, stream: str, sequence: int) -> str:
    """The subjects of the dead letters about one message, of whichever reaction of a service."""
    return f"dead.{service}.*.{stream}.{sequence}.*"


def dead_log(letter: str) -> str:
    """The subject on which it is recorded who replayed or discarded the letter of this subject."""
    return f"dead_log.{letter.partition('.')[2]}"


def dead_log_of(service: str) -> str:
    """What is recorded about all dead letters of a service."""
    return f"dead_log.{service}.>"


def timer(origin: str) -> str:
    """The subject of what waits for its time."""
    return f"timers.{origin}"


def timer_subjects(service: str) -> str:
    """All timers of a service."""
    return f"timers.{service}.>"


def is_note(subject: str) -> bool:
    """Whether a message of a timer stream is no delivery that waits: the note of a last attempt that began, or of a
    schedule."""
    return subject.startswith("timers.") and subject.split(".")[2] in (BEGUN, SCHEDULED)


def schedule(service: str, reaction: str) -> str:
    """The subject of the schedule of a reaction, by which the broker wakes it."""
    return f"timers.{service}.{SCHEDULED}.{reaction}"


def handed_out(service: str, reaction: str) -> str:
    """The subject of the note up to which time the ticks of a schedule are handed out."""
    return f"{schedule(service, reaction)}.until"


def wakes(service: str, reaction: str = "*") -> str:
    """The subject on which the broker wakes a reaction that is due, or all of a service."""
    return f"wakes.{service}.{reaction}"


def schedule_of(wake: str) -> tuple[str, ...]:
    """The subjects of the schedule that wakes on this subject; none if it is no such subject."""
    first, service, reaction, *_ = [*wake.split("."), "", "", ""]
    return (schedule(service, reaction), handed_out(service, reaction), wake) if first == "wakes" else ()


def due(origin: str) -> str:
    """The subject on which a delayed redelivery comes back."""
    return f"due.{origin}"


def due_subjects(service: str) -> str:
    """The subjects on which delayed redeliveries come back to a service."""
    return f"due.{service}.>"


def claim(service: str, token: str) -> str:
    """The subject of one idempotency key of a service."""
    return f"claims.{service}.{token}"


def claim_subjects(service: str) -> str:
    """All idempotency keys of a service."""
    return claim(service, "*")


def limit(service: str, reaction: str) -> str:
    """The subject of the state of one reaction's rate limit."""
    return f"limits.{service}.{reaction}"


def limit_subjects(service: str) -> str:
    """The states of all rate limits of a service."""
    return limit(service, "*")


def endpoint_subject(service: str, name: str) -> str:
    """The subject of an endpoint of a service; the intake does not read it."""
    return f"jetmesh.{service}.{name}"


def is_endpoint(subject: str) -> bool:
    """Whether a subject is an endpoint's: any app may ask it."""
    return subject.startswith("jetmesh.")
