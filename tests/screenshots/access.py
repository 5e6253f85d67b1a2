"""What Eve, who isn't allowed, and Ben, an admin, do in local-slack's page: from the refusal to the first reload.

What local-slack itself cannot do is left out: choosing people.
"""

from collections.abc import Awaitable, Callable, Sequence

from bot.ui import grants
from tests.screenshots.sandbox import RELOAD_SECONDS
from tests.screenshots.story import MESSAGE, Story

SETTINGS = {"ALLOWED_USERS": "U0ADA0001", "ADMIN_USERS": "U0BEN0001"}

_PLACE = ".sidebar-item"
_REFUSAL, _REQUEST, _ANSWER = (
    "One of this bot's admins can give it to you",
    "for access to reload models. They wanted sdxl in #art.",
    "gave you access",
)


class AccessStory(Story):
    """One run of it."""

    def steps(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Half a minute, and five pictures."""
        return (self._ask, self._decide, self._reload, self._manage)

    async def _ask(self) -> None:
        """Eve is refused, and asks for access."""
        await self._act_as("Eve")
        await self._say("/reload-model sdxl")
        await self.page.see(MESSAGE, _REFUSAL)
        await self._picture("access-refusal", MESSAGE, _REFUSAL)
        async with self._told(grants.ASKED.text):
            await self.page.press("Ask for access", MESSAGE, _REFUSAL)

    async def _decide(self) -> None:
        """Ben reads who wants what where, and allows it."""
        await self._act_as("Ben")
        await self.page.click(_PLACE, "Ben")
        await self.page.see(MESSAGE, f"@Eve asks {_REQUEST}")
        await self._picture("access-request", MESSAGE, _REQUEST)
        async with self._told("@Eve can reload models now."):
            await self.page.press("Allow", MESSAGE, _REQUEST)
        await self.page.see(MESSAGE, "✓ Allowed by @Ben on")
        await self.page.see_no(f"{MESSAGE} button", "Allow")
        await self._picture("access-decided", MESSAGE, _REQUEST)

    async def _reload(self) -> None:
        """Eve reads that, and starts the reload that she wanted."""
        await self._act_as("Eve")
        await self.page.click(_PLACE, "Eve")
        await self.page.see(MESSAGE, _ANSWER)
        await self._picture("access-answer", MESSAGE, _ANSWER)
        async with self._told("Reloading sdxl"):
            await self.page.press("Reload sdxl", MESSAGE, _ANSWER)
        await self.page.click(_PLACE, "art")
        await self.page.see(MESSAGE, "@Eve is reloading sdxl")
        await self.page.see(MESSAGE, "✓ sdxl", within=2.0 * RELOAD_SECONDS)

    async def _manage(self) -> None:
        """Ben sees who can reload models, and revokes what he gave."""
        await self._act_as("Ben")
        await self.page.click(_PLACE, "reload-model")
        await self.page.see(".home", "@Eve · granted by @Ben on")
        await self._picture("access-list", ".home-inner")
        await self.page.press("Revoke", ".home")
        await self.page.see_no(".home", "@Eve · granted by")
