"""A batch that breaks says so, and is not over: it can be gone on with."""

from jetmesh.console.jobs import LetterJob, LetterJobs
from jetmesh.operate.dead_letters import DeadLetters
from jetmesh.operate.operator_log import BatchNote, BatchState
from jetmesh.testing import MeshOf
from tests.support.jobs import desk


async def test_a_batch_whose_step_breaks_says_why_and_is_not_over(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(desk())
    post = DeadLetters(mesh.context.connection, mesh.context.publisher, "ada")
    jobs, job = LetterJobs(), LetterJob(BatchNote("b-1", BatchState.BEGAN, "replay", "g", total=2), "r", "ada", (1, 2))

    async def step(item: int) -> None:
        raise KeyError(item)

    await jobs.start(job, post, step)
    await mesh.until(lambda: job.is_over)
    assert job.trouble == "KeyError: 1"
    newest, *_ = await post.log()
    assert newest.batch
    assert newest.batch.state is BatchState.BEGAN
