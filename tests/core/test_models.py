"""The rules between a reload, its subscribers, and what is to be done next."""

from dataclasses import replace

import pytest

from bot.core.models import IN_FLIGHT, PRIORITY, RESPONSE_URL_SECONDS, JobKind, State, repeat_after
from tests.samples import ADA, BEN, MODELS, NOON, OPS, claim, job, subscriber

URL = "https://hooks.slack.com/commands/T0/1/abc"


def test_what_is_guaranteed_goes_before_what_is_best_effort() -> None:
    """Every kind of job has its priority, and no two share one."""
    guaranteed = ["notify", "dm", "call", "reminder", "access_answer", "access_request"]
    assert sorted(JobKind, key=PRIORITY.__getitem__) == [*guaranteed, "status"]
    assert len(set(PRIORITY.values())) == len(JobKind)


def test_a_reload_can_be_joined_until_notification_begins() -> None:
    """Whoever asks later starts another."""
    assert set(State) - set(IN_FLIGHT) == {State.NOTIFYING, State.DONE}


def test_a_reload_is_offered_again_after_five_times_its_length() -> None:
    """A model that was just reloaded needs no other."""
    assert repeat_after(120.0) == 600.0


def test_a_job_notifies_everyone_of_its_channel_who_has_not_been() -> None:
    """Others are notified in theirs."""
    here, told, elsewhere = subscriber(1), subscriber(2, BEN, notified_at=NOON), subscriber(3, BEN, OPS)

    claimed = claim(here, told, elsewhere)

    assert claimed.recipients == [here]
    assert claimed.in_place == [here, told]


def test_a_dm_notifies_the_one_whom_it_is_for() -> None:
    """Unless they have been notified."""
    others, one = subscriber(1), subscriber(2, BEN)

    claimed = claim(others, one, of=job(JobKind.DM, subscriber_id=2))

    assert claimed.recipients == [one]
    assert replace(claimed, subscribers=[others, replace(one, notified_at=NOON)]).recipients == []


@pytest.mark.parametrize(("subscriber_id", "recipients"), [(1, [1]), (3, []), (4, [4])])
def test_a_person_who_asked_twice_in_a_channel_gets_one_dm(subscriber_id: int, recipients: list[int]) -> None:
    """For the first request; another channel has its own."""
    asked = [subscriber(1, ADA), subscriber(2, BEN), subscriber(3, ADA), subscriber(4, ADA, OPS)]
    channel = OPS if subscriber_id == 4 else MODELS

    claimed = claim(*asked, of=job(JobKind.DM, subscriber_id=subscriber_id, channel_id=channel))

    assert [one.id for one in claimed.recipients] == recipients


@pytest.mark.parametrize(
    ("url", "uses", "age", "fresh"),
    [
        (URL, 0, 0, True),
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
