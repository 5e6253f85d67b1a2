"""The Home tabs that are being looked at: shown when they are opened, and again when what they show has changed.

Slack does not tell when somebody leaves the tab, so whoever opened it is taken to look at it for ten minutes.
Nothing here is promised: a tab that was not refreshed is right again when it is opened.
https://docs.slack.dev/surfaces/app-home
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

import structlog

from bot.core.access import Allowlist, Person
from bot.core.background import BackgroundTasks
from bot.errors import DatabaseUnavailable, Declined, NotListed, SlackError
from bot.slack.client import SlackClient
from bot.storage.store import Store
from bot.ui import views
from bot.ui.views import View

LOOKED_AT_SECONDS = 600.0
"""How long a tab that was opened is kept up to date."""

LOOK_SECONDS = 1.0
"""Between two looks at what has changed, while somebody looks; with replicas, others may have changed it."""

MOVE_SECONDS = 20.0
"""Between two moves of a bar."""

VIEWERS_LIMIT = 50
"""Tabs that are kept up to date at once, the last opened: views.publish is tier 4, a hundred calls a minute.

https://docs.slack.dev/reference/methods/views.publish
"""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Viewer:
    """Somebody who looks at the tab, until when, and what they see there."""

    person: Person
    until: float
    shown: View | None = None


class HomeTabs:
    """Publishes the Home tab of each person who opened it lately."""

    def __init__(
        self,
        slack: SlackClient,
        store: Store,
        reload_seconds: float,
        allowlist: Allowlist,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """clock is monotonic, in seconds."""
        self._slack = slack
        self._store = store
        self._reload_seconds = reload_seconds
        self._allowlist = allowlist
        self._clock = clock
        self._viewers: dict[str, _Viewer] = {}
        self._kept = BackgroundTasks()
        self._refreshing = False

    def look(self, person: Person) -> None:
        """Show somebody the tab, and keep it up to date."""
        self._viewers.pop(person.user_id, None)
        self._viewers[person.user_id] = _Viewer(person, self._clock() + LOOKED_AT_SECONDS)
        while len(self._viewers) > VIEWERS_LIMIT:
            del self._viewers[next(iter(self._viewers))]
        self._kept.start(self._show(self._viewers[person.user_id]))
        if not self._refreshing:
            self._refreshing = True
            self._kept.start(self._refresh())

    async def stop(self) -> None:
        """Let the tabs be as they are."""
        await self._kept.stop()

    async def _refresh(self) -> None:
        """Look again and again, for as long as somebody else does."""
        try:
            while self._viewers:
                await asyncio.sleep(LOOK_SECONDS)
                now = self._clock()
                self._viewers = {user_id: viewer for user_id, viewer in self._viewers.items() if viewer.until > now}
                for viewer in list(self._viewers.values()):
                    await self._show(viewer)
        finally:
            self._refreshing = False

    async def _show(self, viewer: _Viewer) -> None:
        """Publish the tab, unless it is as it was shown last."""
        view = await self._view(viewer.person)
        if view == viewer.shown:
            return
        viewer.shown = view
        try:
            await self._slack.call("views.publish", user_id=viewer.person.user_id, view=view)
        except SlackError as failed:
            log.warning("home_not_shown", user=viewer.person.user_id, code=failed.code)

    async def _view(self, person: Person) -> View:
        """What somebody sees; whether they may is asked each time."""
        try:
            self._allowlist.who(person)
            glance = await self._store.home(person.user_id)
        except Declined as declined:
            return views.home_of_a_stranger(declined.told)
        except DatabaseUnavailable:
            return views.home_of_a_stranger(NotListed().told)
        seconds = self._reload_seconds
        moves = max(min(MOVE_SECONDS, seconds / 6), 1.0)
        return views.home(replace(glance, now=glance.now // moves * moves), seconds)
