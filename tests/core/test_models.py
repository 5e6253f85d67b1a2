"""The rules between a reload and its jobs."""

from bot.core.models import IN_FLIGHT, PRIORITY, REPEAT_AFTER, JobKind, State


def test_what_is_guaranteed_goes_before_what_is_best_effort() -> None:
    """Every kind of job has its priority. A reload can be joined until notification begins, and repeated later."""
    guaranteed = ["notify", "dm", "call", "reminder", "access_answer", "access_request"]
    assert sorted(JobKind, key=PRIORITY.__getitem__) == [*guaranteed, "status"]
    assert len(set(PRIORITY.values())) == len(JobKind)
    assert set(State) - set(IN_FLIGHT) == {State.NOTIFYING, State.DONE}
    assert REPEAT_AFTER == 5.0
