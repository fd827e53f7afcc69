"""A request about the jobs of the small mesh, and the service that answers it."""

from opentelemetry import trace
from pydantic import BaseModel

from jetmesh import Problem, Request, Service, Token
from tests.support.jobs import Work, finishing


class JobState(BaseModel):
    """How far a job is."""

    job_id: Token
    finished: bool
    trace_id: str = ""


class StateOf(Request[JobState], type="work.state_of", key_field="job_id"):
    """How far is this job?"""

    job_id: Token


def telling_states() -> Service:
    """The service that finishes jobs, and says how far they are."""
    service = finishing()

    @service.endpoint
    async def state_of(request: StateOf, story: Work) -> JobState:
        """Say whether a job is done."""
        if not story.finished:
            raise Problem(404, "There is no such job", f"Nobody asked for {request.job_id}.", job_id=request.job_id)
        trace_id = trace.get_current_span().get_span_context().trace_id
        return JobState(job_id=request.job_id, finished=True, trace_id=f"{trace_id:032x}")

    return service
