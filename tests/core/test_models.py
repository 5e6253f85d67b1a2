"""The rules between a reload, its subscribers, and what is to be done next."""

from dataclasses import replace

import pytest

from bot.core.models import IN_FLIGHT, PRIORITY, RESPONSE_URL_SECONDS, JobKind, State, repeat_after
from tests.samples import ADA, BEN, MODELS, NOON, OPS, claim, job, subscriber

URL = "https://hooks.slack.com/commands/T0/1/abc"


def test_what_is_guaranteed_goes_before_what_is_best_effort() -> None:
    """Every kind of job has its priority. A reload can be joined until notification begins, and repeated later."""
    guaranteed = ["notify", "dm", "call", "reminder", "access_answer", "access_request"]
    assert sorted(JobKind, key=PRIORITY.__getitem__) == [*guaranteed, "status"]
    assert len(set(PRIORITY.values())) == len(JobKind)
    assert set(State) - set(IN_FLIGHT) == {State.NOTIFYING, State.DONE}
    assert repeat_after(120.0) == 600.0


def test_a_job_notifies_everyone_of_its_channel_who_has_not_been() -> None:
    """Others are notified in theirs."""
    here, notified, elsewhere = subscriber(1), subscriber(2, BEN, notified_at=NOON), subscriber(3, BEN, OPS)

    claimed = claim(here, notified, elsewhere)

    assert (claimed.recipients, claimed.in_place) == ([here], [here, notified])


@pytest.mark.parametrize(("subscriber_id", "recipients"), [(1, [1]), (2, [2]), (3, []), (4, [4])])
def test_a_dm_notifies_the_one_whom_it_is_for(subscriber_id: int, recipients: list[int]) -> None:
    """Unless they have been; a person who asked twice in a channel gets one, another channel has its own."""
    asked = [subscriber(1, ADA), subscriber(2, BEN), subscriber(3, ADA), subscriber(4, ADA, OPS)]
    channel = OPS if subscriber_id == 4 else MODELS

    claimed = claim(*asked, of=job(JobKind.DM, subscriber_id=subscriber_id, channel_id=channel))

    assert [one.id for one in claimed.recipients] == recipients
    assert replace(claimed, subscribers=[replace(one, notified_at=NOON) for one in asked]).recipients == []


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
