"""The rules between a reload, those who wait for it, and what is to be done next."""

from dataclasses import replace

import pytest

from bot.core.models import IN_FLIGHT, RANKS, RESPONSE_URL_SECONDS, JobKind, State
from tests.samples import ADA, BEN, MODELS, NOON, OPS, step, watcher, work

URL = "https://hooks.slack.com/commands/T0/1/abc"


def test_what_was_promised_goes_before_what_is_a_comfort() -> None:
    """Every kind of step has its rank, and no two share one."""
    assert sorted(JobKind, key=RANKS.__getitem__) == [
        "follow_up",
        "direct",
        "call",
        "remind",
        "status",
        "close",
        "bar",
    ]
    assert len(set(RANKS.values())) == len(JobKind)


def test_a_reload_can_be_joined_until_its_end_is_being_told() -> None:
    """Whoever asks later begins another."""
    assert set(State) - set(IN_FLIGHT) == {State.TELLING, State.DONE}


def test_a_step_tells_those_of_its_channel_who_do_not_know_yet() -> None:
    """Others are told in theirs."""
    here, told, elsewhere = watcher(1), watcher(2, BEN, told_at=NOON), watcher(3, BEN, OPS)
    item = work(here, told, elsewhere)

    assert item.audience == [here]
    assert item.askers == [here, told]


def test_a_step_of_one_person_tells_only_them() -> None:
    """A DM goes to whom the channel did not reach."""
    others, one = watcher(1), watcher(2, BEN)
    item = work(others, one, item=step(JobKind.DIRECT, watcher_id=2))

    assert item.audience == [one]
    assert replace(item, watchers=[others, replace(one, told_at=NOON)]).audience == []


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
def test_a_response_url_serves_five_times_in_half_an_hour(url: str, uses: int, age: float, *, fresh: bool) -> None:
    """https://docs.slack.dev/interactivity/handling-user-interaction#message_responses."""
    asked = watcher(1, ADA, MODELS, response_url=url, response_uses=uses)

    assert asked.can_respond(NOON + age) is fresh
