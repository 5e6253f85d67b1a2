"""The Home tab: published when somebody opens it or presses a button in it, and when a reload changes.

Slack sends no event when somebody leaves the tab, so it counts as open for ten minutes. It is best-effort: a tab that
missed a refresh is right again the next time it is opened. https://docs.slack.dev/surfaces/app-home
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import monotonic

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.background import BackgroundTasks
from bot.core import timing
from bot.core.models import NOWHERE, Person
from bot.errors import Refused, SlackError
from bot.handlers.access import Access, SlackRequest
from bot.handlers.store import LISTED_RECENT
from bot.slack import payloads
from bot.slack.client import SlackClient
from bot.slack.payloads import Fields
from bot.storage import history
from bot.ui import views
from bot.ui.grants import ask_buttons
from bot.ui.messages import Message
from bot.ui.reasons import sentence

log = structlog.get_logger(__name__)

TABS = 50
"""How many tabs are refreshed: the last ones that were opened. views.publish is in tier 4, a hundred calls a minute:
https://docs.slack.dev/reference/methods/views.publish"""


@dataclass(slots=True)
class _Reader:
    """Somebody who opened the tab. until is monotonic time in seconds, shown is the view that they see."""

    person: Person
    until: float = 0.0
    shown: Mapping[str, object] | None = None
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)


class HomeTabs:
    """Publishes the Home tab for everybody who opened it recently."""

    def __init__(self, slack: SlackClient, access: Access, command: str, background: BackgroundTasks) -> None:
        self._slack = slack
        self._access = access
        self._command = command
        self._readers: dict[str, _Reader] = {}
        self._background = background
        self._refresh_due = False

    def opened(self, person: Person) -> None:
        """Publish the tab for somebody, and refresh it from now on."""
        reader = self._readers.pop(person.user_id, None) or _Reader(person)
        # The tab is in no channel, so it names nobody who asked in one.
        reader.person = replace(person, channel_id="", thread_ts="")
        reader.until, reader.shown = monotonic() + timing.HOME_OPEN, None
        self._readers[person.user_id] = reader  # dicts keep their order: the newest tab comes last
        while len(self._readers) > TABS:
            del self._readers[next(iter(self._readers))]
        self._background.start(self._publish(reader))

    def changed(self) -> None:
        """Refresh the open tabs soon, because a reload has changed. Changes that come together are one refresh."""
        if self._readers and not self._refresh_due:
            self._refresh_due = True
            self._background.start(self._refresh())

    async def _refresh(self) -> None:
        await asyncio.sleep(timing.HOME_GATHER + timing.HOME_PER_TAB * len(self._readers))
        self._refresh_due = False
        now = monotonic()
        self._readers = {user_id: reader for user_id, reader in self._readers.items() if reader.until > now}
        for reader in self._readers.values():
            self._background.start(self._publish(reader))

    async def _publish(self, reader: _Reader) -> None:
        """Publish the current view for somebody, unless they see it already."""
        async with reader.publishing:  # an older view must not come after a newer one
            view = await self._view(reader.person)
            if view == reader.shown:
                return
            try:
                await self._slack.call("views.publish", user_id=reader.person.user_id, view=view)
                reader.shown = view
            except SlackError as failed:
                log.warning("home_not_shown", user=reader.person.user_id, reason=failed.code)

    async def _view(self, person: Person) -> Mapping[str, object]:
        """The view for somebody. Access is checked each time."""
        try:
            await self._access.rule_for(person)
            data = await self._access.store.read(history.home, person.user_id, LISTED_RECENT)
            lines = await self._access.listed() if person.user_id in self._access.allowlist.admins else ()
        except Refused as refused:
            buttons = ask_buttons(refused, NOWHERE, "")
            return views.home_notice(Message(sentence(refused, self._command), buttons=buttons)).to_dict()
        return views.home(data, self._access.store.reload_seconds, person, lines).to_dict()


def register(app: AsyncApp, home_tabs: HomeTabs) -> None:
    """Register the listener for the Home tab. Access is checked when the tab is published."""

    @app.event("app_home_opened")
    async def opened(event: Fields, body: Fields, context: AsyncBoltContext, ack: AsyncAck) -> None:
        async def reply(_message: Message) -> BoltResponse:
            return await ack()

        slack_request = SlackRequest(person=payloads.event_author(body), what="[home]", reply=reply)
        context["slack_request"] = slack_request
        if event.get("tab", "home") == "home":  # and not Messages
            home_tabs.opened(slack_request.person)
