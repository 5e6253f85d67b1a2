"""Calls to Slack that follow an ack. They run in the background, and are best-effort: no request depends on them."""

import structlog
from slack_sdk.models.views import View

from bot.core.access import Person
from bot.core.background import BackgroundTasks
from bot.errors import SlackError
from bot.handlers.home_tab import HomeTabs
from bot.slack.client import SlackClient
from bot.slack.payloads import Press
from bot.ui.messages import Message

log = structlog.get_logger(__name__)


class Replies:
    """Private messages and modals."""

    def __init__(self, slack: SlackClient, home_tabs: HomeTabs) -> None:
        self._slack = slack
        self._home_tabs = home_tabs
        self._tasks = BackgroundTasks()

    async def stop(self) -> None:
        """Cancel what is still running."""
        await self._tasks.stop()

    def privately(self, response_url: str, message: Message) -> None:
        """Send an ephemeral message to the person whose response_url this is."""
        self._tasks.start(self._respond(response_url, message))

    def to_press(self, press: Press, person: Person, message: Message | None) -> None:
        """Answer a press privately; in the Home tab, where there is no message to answer below, show the tab anew."""
        if not press.response_url:
            self._home_tabs.opened(person)
        elif message is not None:
            self.privately(press.response_url, message)

    def open(self, trigger_id: str, view: View, *, otherwise: tuple[str, Message] | None = None) -> None:
        """Open a modal; otherwise is a response_url and the message to send there if the modal does not open.

        A trigger_id is good for 3 seconds, so this is no job for the worker.
        """
        self._tasks.start(self._open(trigger_id, view, otherwise))

    async def _respond(self, response_url: str, message: Message) -> None:
        try:
            await self._slack.respond(response_url, response_type="ephemeral", text=message.text, blocks=message.blocks)
        except SlackError as failed:
            log.warning("answer_not_told", code=failed.code)

    async def _open(self, trigger_id: str, view: View, otherwise: tuple[str, Message] | None) -> None:
        try:
            await self._slack.call("views.open", trigger_id=trigger_id, view=view.to_dict())
        except SlackError as failed:
            log.warning("picker_not_opened", code=failed.code)
            if otherwise is not None:
                await self._respond(*otherwise)
