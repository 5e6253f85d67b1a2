"""The Home tab: published when it is opened, when its reader presses a button in it, and when a reload changes.

Slack sends no event when somebody leaves the tab, so it counts as open for ten minutes. Best-effort: a tab that was
not refreshed is right again when it is opened. https://docs.slack.dev/surfaces/app-home
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

import structlog
from slack_bolt.async_app import AsyncApp, AsyncBoltContext

from bot.core.access import Allowlist, Person
from bot.core.background import BackgroundTasks
from bot.core.timing import Timing
from bot.errors import DatabaseUnavailable, Refusal, Refused, SlackError
from bot.handlers.access import Next, identify
from bot.handlers.requests import Requests
from bot.slack import payloads
from bot.slack.client import SlackClient
from bot.slack.payloads import Fields
from bot.ui import views
from bot.ui.reasons import sentence

log = structlog.get_logger(__name__)


TABS = 50
"""Tabs that are refreshed, those opened last. views.publish is in tier 4, a hundred calls a minute:
https://docs.slack.dev/reference/methods/views.publish"""


@dataclass(slots=True)
class _Reader:
    """Somebody who opened the tab; until is monotonic time in seconds."""

    person: Person
    until: float
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)
    shown: Mapping[str, object] | None = None


class HomeTabs:
    """Publishes the Home tab to everybody who opened it lately."""

    def __init__(
        self,
        slack: SlackClient,
        requests: Requests,
        allowlist: Allowlist,
        timing: Timing = Timing(),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._slack = slack
        self._requests = requests
        self._allowlist = allowlist
        self._timing = timing
        self._clock = clock
        self._readers: dict[str, _Reader] = {}
        self._tasks = BackgroundTasks()
        self._changed = False
        self._refreshing = False

    def opened(self, person: Person) -> None:
        """Publish the tab to somebody, and refresh it from now on."""
        self._readers.pop(person.user_id, None)
        reader = self._readers[person.user_id] = _Reader(person, self._clock() + self._timing.home_open)
        while len(self._readers) > TABS:
            del self._readers[next(iter(self._readers))]
        self._tasks.start(self._publish(reader))

    def changed(self) -> None:
        """Refresh the open tabs soon: a reload changed its state. Cheap, whether or not any tab is open."""
        self._changed = True
        if self._readers and not self._refreshing:
            self._refreshing = True
            self._tasks.start(self._refresh())

    async def stop(self) -> None:
        """Cancel what is being published."""
        await self._tasks.stop()

    async def _refresh(self) -> None:
        """Publish the open tabs again, and again if something changed meanwhile."""
        try:
            while self._changed:
                await asyncio.sleep(self._timing.home_gather + self._timing.home_per_tab * len(self._readers))
                self._changed = False
                now = self._clock()
                self._readers = {user_id: reader for user_id, reader in self._readers.items() if reader.until > now}
                for reader in list(self._readers.values()):
                    await self._publish(reader)
        finally:
            self._refreshing = False

    async def _publish(self, reader: _Reader) -> None:
        """Publish what somebody sees now, unless they see it already."""
        async with reader.publishing:  # an older view must not come after a newer one
            view = await self._view(reader.person)
            if view == reader.shown:
                return
            try:
                await self._slack.call("views.publish", user_id=reader.person.user_id, view=view)
                reader.shown = view
            except SlackError as failed:
                log.warning("home_not_shown", user=reader.person.user_id, code=failed.code)

    async def _view(self, person: Person) -> Mapping[str, object]:
        """What somebody sees; access is checked each time."""
        try:
            self._allowlist.who(person)
            data = await self._requests.home(person.user_id)
        except Refused as refused:
            return views.home_notice(sentence(refused)).to_dict()
        except DatabaseUnavailable:
            return views.home_notice(sentence(Refused(Refusal.NOT_LISTED))).to_dict()
        return views.home(data, self._requests.reload_seconds, person.user_id).to_dict()


async def read_event(body: Fields, context: AsyncBoltContext, next_: Next) -> None:
    """Middleware: who opened the app's Home."""
    identify(context, payloads.event_author(body), "[home]")
    await next_()


def register(app: AsyncApp, home_tabs: HomeTabs) -> None:
    """Register the listener for the Home tab."""

    @app.event("app_home_opened", middleware=[read_event])
    async def opened(event: Fields, context: AsyncBoltContext) -> None:
        if event.get("tab", "home") == "home":  # and not Messages
            home_tabs.opened(context["person"])
