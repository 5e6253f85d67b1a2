"""User groups are read in the background, no faster than Slack allows, and what was read long ago counts no more."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

import aiohttp
import pytest
from structlog.testing import capture_logs

from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.sandbox.slack import SandboxSlack
from bot.slack import user_groups as groups
from bot.slack.client import SlackClient
from bot.slack.user_groups import (
    AGAIN_SECONDS,
    APART_SECONDS,
    KEEP_SECONDS,
    REFRESH_SECONDS,
    UserGroups,
    members_in,
    reading,
)
from tests.usergroups import FakeUserGroups


class World:
    """A clock that stands still, and a Slack that answers as it is told."""

    def __init__(self, *ids: str) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        self.answers: dict[str, Collection[str] | SlackError] = {id_: {f"U{id_}"} for id_ in ids}
        self.groups = UserGroups(ids, lambda: self.now)

    async def read(self, group_id: str) -> Collection[str]:
        """Answer for one group."""
        self.asked.append(group_id)
        answer = self.answers[group_id]
        if isinstance(answer, SlackError):
            raise answer
        return answer

    async def go_on(self, seconds: float) -> None:
        """Let time pass, and the reading go on as it asks to."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + await self.groups.refresh(self.read), end)


async def test_nobody_is_known_until_read() -> None:
    """None is not the same as empty."""
    world = World("S0CREW")
    before = world.groups.members("S0CREW")
    await world.go_on(1)

    assert before is None
    assert world.groups.members("S0CREW") == {"US0CREW"}


async def test_a_group_may_be_empty() -> None:
    """And is known to be."""
    world = World("S0CREW")
    world.answers["S0CREW"] = frozenset()
    await world.go_on(1)

    assert world.groups.members("S0CREW") == frozenset()


async def test_a_group_is_read_anew_every_five_minutes() -> None:
    """Whoever joined or left is known by then."""
    world = World("S0CREW")
    await world.go_on(REFRESH_SECONDS)
    world.answers["S0CREW"] = {"U0NEW"}
    still = world.groups.members("S0CREW")
    await world.go_on(1)

    assert (still, world.groups.members("S0CREW")) == ({"US0CREW"}, {"U0NEW"})
    assert world.asked == ["S0CREW"] * 2


@pytest.mark.parametrize("count", [1, 10, 300])
async def test_many_groups_take_turns(count: int) -> None:
    """However many, there are twenty readings a minute at most, and each group gets its turn."""
    world = World(*(f"S{number:03}" for number in range(count)))
    await world.go_on(60)
    in_the_first_minute = len(world.asked)
    await world.go_on(KEEP_SECONDS)

    assert in_the_first_minute == min(count, 20)
    assert len(world.asked) <= 20 * 61
    assert {world.asked.count(id_) for id_ in world.answers} <= set(range(4, 14))
    assert all(world.groups.members(id_) for id_ in world.answers)


async def test_a_reading_that_fails_is_tried_again_soon() -> None:
    """Not as late as the next turn, and said once in the log."""
    world = World("S0CREW")
    world.answers["S0CREW"] = SlackRetryableError("http_503")
    with capture_logs() as logged:
        await world.go_on(2 * AGAIN_SECONDS + 1)
    world.answers["S0CREW"] = {"U0NEW"}
    with capture_logs() as after:
        await world.go_on(AGAIN_SECONDS)

    assert world.asked == ["S0CREW"] * 4
    assert [(record["event"], record["code"]) for record in logged] == [("group_not_read", "http_503")]
    assert [(record["event"], record["members"]) for record in after] == [("group_read", 1)]
    assert world.groups.members("S0CREW") == {"U0NEW"}


@pytest.mark.parametrize(("asked", "pause"), [(40.0, 40.0), (1.0, APART_SECONDS), (1e9, 300.0), (None, APART_SECONDS)])
async def test_a_pause_that_slack_asks_for_is_kept_for_all_groups(asked: float | None, pause: float) -> None:
    """The limit is one of the method, within reason."""
    world = World("S0CREW", "S0TEAM")
    world.answers["S0CREW"] = SlackRetryableError("ratelimited", asked)

    assert await world.groups.refresh(world.read) == pause


async def test_the_last_answer_counts_for_an_hour() -> None:
    """Slack may be away for a while; longer than that, nobody can say who has left the group."""
    world = World("S0CREW", "S0TEAM")
    await world.go_on(10)
    world.answers["S0CREW"] = SlackRetryableError("TimeoutError")
    await world.go_on(KEEP_SECONDS - 10)
    kept = world.groups.members("S0CREW")
    await world.go_on(1)

    assert kept == {"US0CREW"}
    assert world.groups.members("S0CREW") is None
    assert world.groups.members("S0TEAM") == {"US0TEAM"}


async def test_a_group_that_is_gone_counts_no_longer() -> None:
    """That is an answer, and not the lack of one."""
    world = World("S0CREW")
    await world.go_on(10)
    world.answers["S0CREW"] = SlackPermanentError("no_such_subteam")
    await world.go_on(REFRESH_SECONDS)

    assert world.groups.members("S0CREW") is None


async def test_a_scope_that_is_missing_is_asked_for_until_it_is_there() -> None:
    """The app may be installed again while the bot runs."""
    world = World("S0CREW")
    world.answers["S0CREW"] = SlackPermanentError("missing_scope")
    await world.go_on(100)
    world.answers["S0CREW"] = {"U0NEW"}
    await world.go_on(AGAIN_SECONDS)

    assert world.groups.members("S0CREW") == {"U0NEW"}


async def test_without_groups_nothing_is_read() -> None:
    """And nobody waits for anything."""
    world = World()
    await world.groups.run(world.read)

    assert world.asked == []


async def test_an_error_of_the_bots_own_does_not_end_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and the reading goes on."""
    monkeypatch.setattr(groups, "AGAIN_SECONDS", 0.0)
    done = asyncio.Event()

    async def read(group_id: str) -> Collection[str]:
        if len(world.asked) == 0:
            world.asked.append(group_id)
            raise KeyError(group_id)
        done.set()
        return {"U0ADA"}

    world = World("S0CREW")
    with capture_logs() as logged:
        task = asyncio.create_task(world.groups.run(read))
        await asyncio.wait_for(done.wait(), 10)
        task.cancel()
        await asyncio.wait([task])

    assert logged[0]["event"] == "groups_stumbled"
    assert world.groups.members("S0CREW") == {"U0ADA"}


# --- what Slack says ------------------------------------------------------------------------------------


@pytest.fixture
async def api(slack: SandboxSlack) -> AsyncIterator[SlackClient]:
    """The Web API."""
    async with aiohttp.ClientSession() as session:
        yield SlackClient(session, slack.bot_token, slack.api_url)


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A workspace with one user group."""
    async with SandboxSlack() as slack:
        slack.fail("usergroups.users.list", FakeUserGroups({"S0CREW": ["U0ADA", "W0BEN"]}))
        yield slack


async def test_a_group_is_read_by_the_bots_token(slack: SandboxSlack, api: SlackClient) -> None:
    """The method takes no JSON: the group stands in the query."""
    assert await reading(api)("S0CREW") == {"U0ADA", "W0BEN"}
    assert [(call.method, call.args, call.token_ok) for call in slack.calls] == [
        ("usergroups.users.list", {"usergroup": "S0CREW"}, True)
    ]


async def test_a_group_that_there_is_not(api: SlackClient) -> None:
    """Slack's refusal is the one error tree's."""
    with pytest.raises(SlackPermanentError, match="no_such_subteam"):
        await reading(api)("S0NONE")


@pytest.mark.parametrize(
    "answer", [{}, {"users": None}, {"users": "U0ADA"}, {"users": {"U0ADA": 1}}, {"users": ["U0ADA", 7]}]
)
def test_an_answer_without_sense_is_no_empty_group(answer: Mapping[str, object]) -> None:
    """It is an answer that did not come."""
    with pytest.raises(SlackRetryableError, match="no_sense"):
        members_in(answer)
