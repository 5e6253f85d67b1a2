"""What the handlers ask of storage, and the sentence that acknowledges a reload."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from slack_bolt.async_app import AsyncBoltContext

from bot.core.models import Entry, HomeData, Reminder
from bot.errors import CommitUncertain, DatabaseUnavailable, Refusal, Refused
from bot.storage.store import Ask, Asked, Note
from bot.ui import messages

T = TypeVar("T")


class Requests(Protocol):
    """Each method is one transaction, and raises DatabaseUnavailable; what writes also raises CommitUncertain."""

    reload_seconds: float

    async def ask(self, ask: Ask, /) -> Asked:
        """Begin a reload, or join the one in flight. Raises Refused."""
        ...

    async def join(self, ask: Ask, reload_id: str, /) -> Asked | None:
        """Join this very reload; None where it is over or unknown. Raises Refused."""
        ...

    async def remind(self, user_id: str, reload_id: str, channel_id: str, /) -> Reminder | None:
        """Make a reminder about a reload's model; None where it was never accepted."""
        ...

    async def stop_reminding(self, user_id: str, model_id: str, /) -> bool:
        """Delete a reminder; returns whether there was one."""
        ...

    async def in_flight(self) -> tuple[list[Entry], int]:
        """The reloads that have not ended, and how many there are."""
        ...

    async def history(self) -> list[Entry]:
        """The reloads that have ended, the latest first."""
        ...

    async def glance(self, user_id: str, /) -> HomeData:
        """What one person's Home tab shows."""
        ...

    def note(self, note: Note, /) -> None:
        """Add a line to the audit, in the background."""
        ...


async def recorded(writing: Awaitable[T]) -> T:
    """Await a request that writes. Raises Refused with what is certain about it while the database is unavailable."""
    try:
        return await writing
    except CommitUncertain as error:
        raise Refused(Refusal.UNCERTAIN) from error
    except DatabaseUnavailable as error:
        raise Refused(Refusal.NOT_RECORDED) from error


def ask_for(context: AsyncBoltContext, model_id: str, key: str, response_url: str, button: str = "") -> Ask:
    """A request for a reload of a model, by the context's person, in their channel.

    key is unique to the invocation, so that one that Slack delivers twice counts once. button is unique to the button
    that was pressed, if one was, so that a double click counts once.
    """
    person = context["person"]
    return Ask(
        f"{button}#{key}" if button else key,
        person.user_id,
        person.channel_id,
        model_id,
        response_url,
        team_id=person.team_id,
        rule=context["rule"],
        press=button,
    )


def acknowledgement(context: AsyncBoltContext, asked: Asked, reload_seconds: float, where: str = "here") -> str:
    """What somebody is told whose request for a reload was recorded; where is how to call the channel of the reload."""
    person = context["person"]
    if asked.joined:
        return messages.joined(asked.reload, asked.first, person.user_id, person.channel_id, reload_seconds, where)
    return messages.reloading(asked.reload, reload_seconds, where)


def there(context: AsyncBoltContext) -> str:
    """How to call the channel for somebody who asks from elsewhere; the name of a DM says nothing."""
    person = context["person"]
    return "there" if person.channel_id.startswith("D") else f"in <#{person.channel_id}>"
