"""The Home tab is refreshed when a reload changes, for people who opened it lately, and not more often than that."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bot.core.access import Allowlist, Home, Person
from bot.core.timing import Timing
from bot.errors import DatabaseUnavailable, SlackPermanentError
from bot.handlers.home_tab import HomeTabs
from tests.handlers.conftest import ADA, FakeDatabase, RecordingSlack, requests_to, settled

BEN = "U0BEN"
AT_ONCE = Timing(home_gather=0.0, home_per_tab=0.0)


class Tabs:
    """The Home tabs of a workspace in which Ada and Ben may reload models."""

    def __init__(self, timing: Timing = AT_ONCE) -> None:
        self.now = 0.0
        self.slack, self.requests = RecordingSlack(), FakeDatabase()
        self.allowlist = Allowlist({ADA, BEN}, ())
        self.allowlist.home = Home("T0HOME")
        self.tabs = HomeTabs(self.slack, requests_to(self.requests), self.allowlist, timing, lambda: self.now)

    async def open(self, *users: str) -> None:
        """Let these people open the tab, one after another."""
        for user in users:
            self.tabs.opened(Person(user, "T0HOME", ""))
            await settled()

    async def change(self, count: int) -> None:
        """Let something change, and wait for what comes of it."""
        self.requests.count = count
        self.tabs.changed()
        await settled()

    @property
    def published(self) -> list[object]:
        """To whom the tab was published, in order."""
        return [fields["user_id"] for _, fields in self.slack.calls]


async def test_a_change_is_published_to_people_who_opened_the_tab() -> None:
    """And to nobody where nobody did."""
    home = Tabs()
    await home.change(1)
    assert home.published == []
    await home.open(ADA, BEN)
    await home.change(2)

    assert home.published == [ADA, BEN, ADA, BEN]
    assert "… and 2 more" in str(home.slack.calls[-1])


async def test_what_looks_the_same_is_not_published_again() -> None:
    """Until the tab is opened anew: then somebody may see an old one."""
    home = Tabs()
    await home.open(ADA)
    await home.change(0)
    assert home.published == [ADA]
    await home.open(ADA)

    assert home.published == [ADA, ADA]


async def test_changes_that_come_together_are_published_once() -> None:
    """A busy worker does not use up Slack's limit."""
    home = Tabs()
    await home.open(ADA)
    for count in range(1, 6):
        home.requests.count = count
        home.tabs.changed()
    await settled()

    assert home.published == [ADA, ADA]
    assert "… and 5 more" in str(home.slack.calls[-1])


async def test_a_change_during_a_refresh_is_published_after_it() -> None:
    """What is seen in the end is how it is."""
    home = Tabs()
    await home.open(ADA)
    seen: list[object] = []

    async def call(method: str, **fields: object) -> Mapping[str, object]:
        seen.append(fields["view"])
        if len(seen) == 1:
            home.requests.count = 7
            home.tabs.changed()
        return {method: ""}

    home.slack.call = call  # type: ignore[method-assign]
    await home.change(1)

    assert ["… and 1 more" in str(view) for view in seen] == [True, False]
    assert "… and 7 more" in str(seen[-1])


async def test_an_older_view_does_not_come_after_a_newer_one() -> None:
    """However long Slack takes for the older one."""
    home = Tabs()
    published: list[str] = []
    released = asyncio.Event()

    async def call(method: str, **fields: object) -> Mapping[str, object]:
        if not published:
            await released.wait()
        published.append("older" if "… and" not in str(fields["view"]) else "newer")
        return {method: ""}

    home.slack.call = call  # type: ignore[method-assign]
    home.tabs.opened(Person(ADA, "T0HOME", ""))
    await asyncio.sleep(0)
    home.requests.count = 1
    home.tabs.changed()
    await asyncio.sleep(0.01)
    released.set()
    await settled()

    assert published == ["older", "newer"]


async def test_a_tab_is_refreshed_for_ten_minutes_after_it_was_opened() -> None:
    """Slack does not say when somebody leaves it."""
    home = Tabs()
    await home.open(ADA)
    home.now = 599.0
    await home.change(1)
    home.now = 601.0
    await home.change(2)

    assert home.published == [ADA, ADA]


async def test_only_so_many_tabs_are_refreshed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were opened last."""
    monkeypatch.setattr("bot.handlers.home_tab.TABS", 1)
    home = Tabs()
    await home.open(ADA, BEN)
    await home.change(1)

    assert home.published == [ADA, BEN, BEN]


async def test_the_pause_grows_with_the_number_of_tabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """views.publish may be called a hundred times a minute."""
    pauses: list[float] = []
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await pause(0)

    home = Tabs(Timing())
    await home.open(ADA, BEN)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await home.change(1)

    assert pauses == [pytest.approx(2.2)]


async def test_access_is_checked_with_every_refresh() -> None:
    """Who was taken off the list sees nothing more."""
    home = Tabs()
    await home.open(ADA)
    home.allowlist.home = Home("T0OTHER")
    await home.change(1)

    assert "Only members of this bot's workspace" in str(home.slack.calls[-1])


async def test_a_database_that_is_unavailable_is_shown() -> None:
    """Until something changes."""
    home = Tabs()
    home.requests.failing = DatabaseUnavailable("away")
    await home.open(ADA)
    home.requests.failing = None
    await home.change(1)

    assert "My database isn't responding." in str(home.slack.calls[0])
    assert "… and 1 more" in str(home.slack.calls[1])


async def test_a_tab_that_slack_does_not_take_is_published_with_the_next_change() -> None:
    """The Home tab may be switched off in the app's settings."""
    home = Tabs()
    home.slack.failing = SlackPermanentError("not_enabled")
    await home.open(ADA)
    home.slack.failing = None
    await home.change(0)

    assert home.published == [ADA, ADA]


async def test_stopping_breaks_off_what_is_being_published() -> None:
    """Nothing of it was guaranteed."""
    home = Tabs(replace(AT_ONCE))
    await home.open(ADA)
    home.tabs.changed()
    await home.tabs.stop()

    assert home.published == [ADA]
