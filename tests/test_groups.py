"""User groups are read in the background, no faster than Slack allows, and what was read long ago counts no more."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import aiohttp
import pytest
from structlog.testing import capture_logs

from bot.core.timing import Timing
from bot.errors import SlackPermanentError, SlackRetryableError
from bot.sandbox.slack import SandboxSlack
from bot.slack.client import ANSWER_LIMIT, BoundedResponse, SlackClient
from bot.slack.user_groups import UserGroups, members_in, reading
from tests.scenarios.house import eventually
from tests.usergroups import FakeUserGroups

BRISK = Timing(groups_refresh=0.01, groups_retry=0.01, groups_apart=0.0)
KEEP = BRISK.groups_keep


class World:
    """Groups that are read, a clock that is moved by hand, and a Slack that answers as it is told."""

    def __init__(self, *ids: str, timing: Timing = BRISK) -> None:
        self.now = 1000.0
        self.answer: Collection[str] | Exception = {"U0ADA"}
        self.readings: list[tuple[str, float]] = []
        self.groups = UserGroups(ids or ("S0CREW",), timing, lambda: self.now)

    @property
    def members(self) -> Collection[str] | None:
        """Who is in the group."""
        return self.groups.members("S0CREW")

    async def read(self, group_id: str) -> Collection[str]:
        """Answer for one group."""
        self.readings.append((group_id, time.monotonic()))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @asynccontextmanager
    async def running(self, readings: int = 1) -> AsyncIterator[None]:
        """Read until the end of the block, and so often before it begins."""
        task = asyncio.create_task(self.groups.run(self.read))
        await self.wait(readings)
        yield
        task.cancel()
        await asyncio.wait([task])

    async def wait(self, readings: int) -> None:
        """Wait for so many readings more, and for what they change."""
        wanted = len(self.readings) + readings
        await eventually(lambda: len(self.readings) >= wanted)
        await asyncio.sleep(0)


async def test_nobody_is_known_until_read() -> None:
    """None is not the same as empty."""
    world = World()
    assert world.members is None
    world.answer = frozenset()
    async with world.running():
        assert world.members == frozenset()


async def test_a_group_is_read_again_and_again() -> None:
    """Whoever joined or left is known by then."""
    world = World()
    async with world.running():
        world.answer = {"U0NEW"}
        await world.wait(2)

        assert world.members == {"U0NEW"}


async def test_many_groups_take_turns_a_pause_apart() -> None:
    """However many there are, Slack's limit is kept, and each gets its turn."""
    world = World("S1", "S2", "S3", timing=replace(BRISK, groups_apart=0.03))
    async with world.running(7):
        assert [group for group, _ in world.readings[:6]] == ["S1", "S2", "S3"] * 2
        assert all(later - earlier >= 0.03 for (_, earlier), (_, later) in pairwise(world.readings))


async def test_a_pause_that_slack_asks_for_is_kept_for_all_groups() -> None:
    """The limit is one of the method."""
    world = World("S1", "S2")
    world.answer = SlackRetryableError("ratelimited", 0.2)
    async with world.running(2):
        (_, first), (_, second) = world.readings[:2]

        assert second - first >= 0.2


@pytest.mark.parametrize("failure", [SlackRetryableError("http_503"), SlackPermanentError("missing_scope")])
async def test_a_reading_that_fails_is_tried_again(failure: Exception) -> None:
    """The app may be installed again while the bot runs. The log says it once, and that it is over."""
    world = World()
    world.answer = failure
    with capture_logs() as logged:
        async with world.running(3):
            before = world.members
            world.answer = {"U0NEW"}
            await world.wait(2)

    assert (before, world.members) == (None, {"U0NEW"})
    assert [(line["event"], line.get("reason"), line.get("members")) for line in logged] == [
        ("group_not_read", str(failure), None),
        ("group_read", None, 1),
    ]


async def test_the_last_answer_counts_for_an_hour() -> None:
    """Slack may be away for a while; longer than that, nobody can say who has left the group."""
    world = World()
    async with world.running(2):
        world.answer = SlackRetryableError("TimeoutError")
        await world.wait(2)
        world.now += KEEP
        kept = world.members
        world.now += 1

        assert (kept, world.members) == ({"U0ADA"}, None)


async def test_a_group_that_is_gone_counts_no_longer() -> None:
    """That is an answer, and not the lack of one."""
    world = World()
    async with world.running(2):
        world.answer = SlackPermanentError("no_such_subteam")
        await world.wait(2)

        assert world.members is None


async def test_an_error_of_the_bots_own_does_not_end_the_reading() -> None:
    """It is logged, and the reading goes on."""
    world = World()
    world.answer = KeyError("S0CREW")
    with capture_logs() as logged:
        async with world.running():
            world.answer = {"U0ADA"}
            await world.wait(2)
            assert world.members == {"U0ADA"}

    assert logged[0]["event"] == "group_reading_failed"


# What Slack says


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A workspace with one user group."""
    async with SandboxSlack() as slack:
        slack.fail("usergroups.users.list", FakeUserGroups({"S0CREW": ["U0ADA", "W0BEN"]}))
        yield slack


@pytest.fixture
async def api(slack: SandboxSlack) -> AsyncIterator[SlackClient]:
    """The Web API, with answers that are bounded as the bot's are."""
    async with aiohttp.ClientSession(response_class=BoundedResponse) as session:
        yield SlackClient(session, slack.bot_token, slack.api_url)


async def test_a_group_is_read_by_the_bots_token(slack: SandboxSlack, api: SlackClient) -> None:
    """The method takes no JSON: the group stands in the query."""
    assert await reading(api)("S0CREW") == {"U0ADA", "W0BEN"}
    assert [(call.method, call.args, call.token_ok) for call in slack.calls] == [
        ("usergroups.users.list", {"usergroup": "S0CREW"}, True)
    ]
    with pytest.raises(SlackPermanentError, match="no_such_subteam"):
        await reading(api)("S0NONE")


@pytest.mark.parametrize("count", [40_000, 200_000])
async def test_a_group_of_a_large_workspace_is_read(slack: SandboxSlack, api: SlackClient, count: int) -> None:
    """Its answer is much longer than any other method's."""
    slack.heal()
    slack.fail("usergroups.users.list", FakeUserGroups({"S0CREW": [f"U{number:010}" for number in range(count)]}))

    assert len(await reading(api)("S0CREW")) == count > ANSWER_LIMIT / 14


@pytest.mark.parametrize(
    "answer", [{}, {"users": None}, {"users": "U0ADA"}, {"users": {"U0ADA": 1}}, {"users": ["U0ADA", 7]}]
)
def test_an_answer_without_sense_is_no_empty_group(answer: Mapping[str, object]) -> None:
    """It is an answer that did not come."""
    with pytest.raises(SlackRetryableError, match="no_sense"):
        members_in(answer)
