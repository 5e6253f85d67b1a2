"""The allowlist as Bolt listener middleware.

A listener behind it finds in its context:

- person: the authorized Person
- rule: the rule that allowed them, for the audit
- what: what they asked for, as text for the audit

https://docs.slack.dev/tools/bolt-python/concepts/listener-middleware
"""

from collections.abc import Awaitable, Callable

from slack_bolt.async_app import AsyncBoltContext

from bot.core.access import Allowlist, Person

Next = Callable[[], Awaitable[None]]


def identify(context: AsyncBoltContext, person: Person, what: str) -> None:
    """Put into the context who asks for what; whether they are allowed is not known yet."""
    context["person"] = person
    context["what"] = what
    context["rule"] = ""


class Access:
    """Lets authorized people through. Its methods are listener middleware, and raise Refused."""

    def __init__(self, allowlist: Allowlist) -> None:
        self._allowlist = allowlist

    async def in_channel(self, context: AsyncBoltContext, next_: Next) -> None:
        """Only people who can reload models in the channel that the request is about."""
        context["rule"] = self._allowlist.check(context["person"])
        await next_()

    async def anywhere(self, context: AsyncBoltContext, next_: Next) -> None:
        """Only people who can reload models, in whatever channel."""
        context["rule"] = self._allowlist.who(context["person"])
        await next_()

    def is_open(self, channel_id: str) -> bool:
        """Whether models can be reloaded in a channel at all."""
        return self._allowlist.is_open(channel_id)
