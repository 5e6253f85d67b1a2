"""User groups are read in the background, no faster than Slack allows, and what was read long ago no longer counts."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import aiohttp
import pytest
from structlog.testing import capture_logs

from bot.core import timing
from bot.errors import SlackPermanentError, SlackRetryableError
from bot.sandbox.slack.service import SandboxSlack
from bot.slack.client import ANSWER_LIMIT, GROUP_METHOD
from bot.slack.user_groups import UserGroups, read_members
from tests.answers import Answer, Json
from tests.samples import client_of
from tests.scenarios.scenario import eventually
from tests.times import set_timing
from tests.usergroups import FakeOrganisation, FakeUserGroups

ONE_WORKSPACE = FakeOrganisation({"T0ART": FakeUserGroups({})})


class Groups:
    """User groups, a Slack that answers as it is told, and a clock that is moved by hand."""

    def __init__(self, *ids: str, apart: float = 0.0) -> None:
        self.now = 1000.0
        self.answer: Collection[str] | Exception = {"U0ADA"}
        self.readings: list[tuple[str, float]] = []
        set_timing(groups_refresh=0.01, groups_retry=0.01, groups_apart=apart)
        self._groups = UserGroups(ids or ("S0CREW",), lambda: self.now)

    def members(self) -> Collection[str] | None:
        """Who is in the group."""
        return self._groups.members("S0CREW")

    async def _read(self, group_id: str) -> Collection[str]:
        self.readings.append((group_id, time.monotonic()))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @asynccontextmanager
    async def running(self, readings: int = 1) -> AsyncIterator[None]:
        """Read until the end of the block, and so often before it begins."""
        task = asyncio.create_task(self._groups.run(self._read))
        await self.wait(readings)
        yield
        task.cancel()
        await asyncio.wait([task])

    async def answers(self, answer: Collection[str] | Exception) -> None:
        """From now on answer so, and wait until that has been read."""
        self.answer = answer
        await self.wait(2)

    async def wait(self, readings: int) -> None:
        """Wait for so many readings more, and for what they change."""
        wanted = len(self.readings) + readings
        await eventually(lambda: len(self.readings) >= wanted)
        await asyncio.sleep(0)


async def test_many_groups_take_turns_a_pause_apart() -> None:
    """Slack's limit is kept, however many there are. It is for the method: a pause that Slack asks for is for all."""
    groups = Groups("S1", "S2", "S3", apart=0.03)
    async with groups.running(7):
        assert [group for group, _ in groups.readings[:6]] == ["S1", "S2", "S3"] * 2
        assert all(later - earlier >= 0.03 for (_, earlier), (_, later) in pairwise(groups.readings))
        await groups.answers(SlackRetryableError("ratelimited", 0.1))
        (_, first), (_, second) = groups.readings[-2:]
        assert second - first >= 0.1


@pytest.mark.parametrize("failure", [SlackRetryableError("http_503"), SlackPermanentError("missing_scope"), KeyError()])
async def test_a_reading_that_fails_is_tried_again(failure: Exception) -> None:
    """The app may be reinstalled. The log says once that it failed, of a bug each time, and that it works."""
    groups = Groups()
    groups.answer = failure
    with capture_logs() as logged:
        async with groups.running(3):
            assert groups.members() is None
            await groups.answers({"U0NEW"})

    assert groups.members() == {"U0NEW"}
    *failed, read = [(line["event"], line.get("reason"), line.get("members")) for line in logged]
    assert read == ("group_read", None, 1)
    if isinstance(failure, KeyError):
        assert {*failed} == {("group_reading_failed", None, None)}
    else:
        assert failed == [("group_not_read", str(failure), None)]


async def test_the_last_answer_counts_for_an_hour() -> None:
    """Slack may be unavailable for a while. Then nobody knows who has left; in a group that is gone there is nobody."""
    groups = Groups()
    async with groups.running(2):
        await groups.answers(SlackRetryableError("TimeoutError"))
        groups.now += timing.GROUPS_KEEP
        assert groups.members() == {"U0ADA"}
        groups.now += 1
        assert groups.members() is None
        await groups.answers({"U0ADA"})
        await groups.answers(SlackPermanentError("no_such_subteam"))
        assert groups.members() == frozenset()


async def test_a_group_is_read_by_the_bots_token() -> None:
    """The method takes no JSON: the group is in the query. Its answer can be much longer than any other."""
    everyone = [f"U{number:010}" for number in range(200_000)]
    async with SandboxSlack() as slack, aiohttp.ClientSession() as session:
        slack.fail(GROUP_METHOD, FakeUserGroups({"S0CREW": ["U0ADA", "W0BEN"], "S0ALL": everyone}))
        read = partial(read_members, client_of(slack, session))

        assert await read("S0CREW") == {"U0ADA", "W0BEN"}
        assert [(call.method, call.args, call.token_ok) for call in slack.calls] == [
            (GROUP_METHOD, {"usergroup": "S0CREW"}, True)
        ]
        assert len(await read("S0ALL")) == len(everyone) > ANSWER_LIMIT / 14
        with pytest.raises(SlackPermanentError, match="no_such_subteam"):
            await read("S0NONE")


async def test_in_an_organisation_the_workspaces_are_asked_in_turn() -> None:
    """Slack wants a workspace for each group. The first that has the group counts, with a pause between two."""
    art, ops = FakeUserGroups({"S0ART": ["U0ADA"]}), FakeUserGroups({"S0CREW": ["U0ADA", "U0BEN"]})
    organisation = FakeOrganisation({"T0ART": art, "T0OPS": ops, "T0REST": FakeUserGroups({})})
    async with SandboxSlack() as slack, aiohttp.ClientSession() as session:
        slack.fail(GROUP_METHOD, organisation)
        slack.fail("auth.teams.list", organisation.listed)
        read = partial(read_members, client_of(slack, session), apart=0.03)

        began = time.monotonic()
        assert await read("S0CREW") == {"U0ADA", "U0BEN"}
        assert time.monotonic() - began >= 0.06
        assert [call.args.get("team_id") for call in slack.calls if call.method == GROUP_METHOD] == [
            None,
            "T0ART",
            "T0OPS",
        ]
        with pytest.raises(SlackPermanentError, match="no_such_subteam"):
            await read("S0NONE")


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        *(
            ({GROUP_METHOD: Json(200, {"ok": True, **answer})}, "no_sense")
            for answer in ({}, {"users": "U0ADA"}, {"users": {"U0ADA": 1}}, {"users": ["U0ADA", 7]})
        ),
        # In an organisation, after it has asked for a workspace.
        ({"auth.teams.list": Json(200, {"ok": True})}, "no_sense"),
        ({"auth.teams.list": Json(200, {"ok": True, "teams": ["T0ART"]})}, "no_sense"),
        ({"auth.teams.list": "internal_error"}, "internal_error"),
        ({"auth.teams.list": ONE_WORKSPACE.listed, GROUP_METHOD: "missing_scope"}, "missing_scope"),
    ],
)
async def test_what_cannot_be_read_is_no_empty_or_missing_group(
    answers: Mapping[str, Answer | str], reason: str
) -> None:
    """It counts as a failure, and the last answer counts on."""
    async with SandboxSlack() as slack, aiohttp.ClientSession() as session:
        if "auth.teams.list" in answers:
            slack.fail(GROUP_METHOD, "missing_argument", times=1)
        for method, answer in answers.items():
            slack.fail(method, answer)
        with pytest.raises(SlackRetryableError, match=reason):
            await read_members(client_of(slack, session), "S0CREW")
