"""The rules between a reload and its jobs."""

import pytest

from bot.core.models import IN_FLIGHT, PRIORITY, RESPONSE_URL_SECONDS, JobKind, State, repeat_after
from tests.samples import NOON, subscriber

URL = "https://hooks.slack.com/commands/T0/1/abc"


def test_what_is_guaranteed_goes_before_what_is_best_effort() -> None:
    """Every kind of job has its priority. A reload can be joined until notification begins, and repeated later."""
    guaranteed = ["notify", "dm", "call", "reminder", "access_answer", "access_request"]
    assert sorted(JobKind, key=PRIORITY.__getitem__) == [*guaranteed, "status"]
    assert len(set(PRIORITY.values())) == len(JobKind)
    assert set(State) - set(IN_FLIGHT) == {State.NOTIFYING, State.DONE}
    assert repeat_after(120.0) == 600.0


@pytest.mark.parametrize(
    ("url", "uses", "age", "fresh"),
    [
        (URL, 4, RESPONSE_URL_SECONDS - 1, True),
        (URL, 5, 0, False),
        (URL, 0, RESPONSE_URL_SECONDS, False),
        ("", 0, 0, False),
    ],
)
def test_a_response_url_works_five_times_in_half_an_hour(url: str, uses: int, age: float, *, fresh: bool) -> None:
    """https://docs.slack.dev/interactivity/handling-user-interaction#message_responses."""
    asked = subscriber(response_url=url, response_url_uses=uses)

    assert asked.can_respond(NOON + age) is fresh
