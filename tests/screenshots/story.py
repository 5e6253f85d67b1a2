"""What Ada, Ben and Eve do in local-slack's page, what each step must lead to, and the pictures on the way.

Every step that does not lead there ends it. What local-slack itself cannot do is left out: choosing from a menu that
asks the bot or lists channels, shortcuts, and a reply that is shown in the channel too.
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.core.models import REPEAT_AFTER
from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab, error
from bot.ui import messages, views
from tests.screenshots.browser import Page, found
from tests.screenshots.sandbox import RELOAD_SECONDS

MESSAGE = ".messages .msg"
_IN_THREAD = ".thread-pane .msg"

DESKTOP, PHONE = (1100, 900), (390, 2000)
"""CSS pixels: of the page while it is used, and while a picture is taken, which shows all that a phone scrolls to."""

# local-slack draws less than Slack does: times as they are sent, the fallback text above the blocks that stand for it,
# nothing for a menu that asks the bot, and its sidebar on a phone, too. For the pictures, and only there, that is drawn
# as Slack draws it, and room around is left out.
_DRAWN = """
if (!document.getElementById('drawn')) {
  const style = document.createElement('style');
  style.id = 'drawn';
  style.textContent = `
    .msg-text:has(+ .blocks) { display: none; }
    .msg-text, .bk-text { line-height: 22px; }
    .msg, .modal-overlay { background: #fff; }
    .messages .msg { padding-block: 12px; }
    .thread-body { flex: none; padding-bottom: 16px; }
    .home-inner { padding: 16px; }
    .bk-input .bk-unknown { display: block; font-size: 0; border: 1px solid #bbb; border-radius: 4px; padding: 8px; }
    .bk-input .bk-unknown::before { content: 'Pick one or search'; font-size: 15px; color: #616061; }
    .bk-input .bk-unknown::after { content: '▾'; font-size: 15px; color: #616061; float: right; }
    @media (max-width: 500px) {
      .topbar, .sidebar, .app:has(.thread-pane) .main, .thread-resize-handle { display: none; }
      .main, .thread-pane { width: 100% !important; }
    }`;
  document.head.append(style);
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  walker.currentNode.data = walker.currentNode.data.replaceAll(/<!date\\^\\d+\\^[^|>]*\\|([^>]*?)(?: UTC)?>/g, '$1');
}
"""

# What is wider than its place, if anything is.
_TOO_WIDE = """
[...document.querySelectorAll('html, .main *, .thread-pane *, .modal *')]
  .filter((element) => element.clientWidth && element.scrollWidth > element.clientWidth + 1)
  .map((element) => `${element.className}: ${element.textContent.slice(0, 60)}`).join('; ')
"""

# Whether a message's text takes no more than so many lines.
_LINES = """
const message = {element}, shown = message.querySelector('.bk-text') ?? message.querySelector('.msg-text');
Math.round(shown.getBoundingClientRect().height / parseFloat(getComputedStyle(shown).lineHeight)) <= {lines}
"""


@dataclass(frozen=True, slots=True)
class Story:
    """One run of it."""

    page: Page
    url: str
    modelslab: SandboxModelsLab
    pictures: Path

    async def play(self) -> None:
        """One step after the other, from the first command to the last button."""
        await self.page.size(*DESKTOP)
        await self.page.call("Page.navigate", url=self.url)
        await self.page.see(".status.ok", "connected")
        for step in self.steps():
            await step()
            note(str(step.__doc__))

    def steps(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What is done, in order: about three minutes."""
        return (
            *(self._trouble, self._failure, self._picker, self._status),
            *(self._follow_up, self._again, self._home, self._thread),
        )

    async def _trouble(self) -> None:
        """ModelsLab refuses the first call: the ack says nothing of it yet, the channel reads it soon."""
        self.modelslab.answer("dreamshaper", error(500, "Internal server error. Please try again."), ACCEPTED)
        async with self._told("Reloading dreamshaper. I'll ping you here around"):
            await self._say("/reload-model dreamshaper")
        await self._picture("ack", MESSAGE, "I'll ping you here", lines=2)
        await self.page.see(MESSAGE, "ModelsLab hasn't accepted the request yet. I'll keep trying until", within=30.0)
        await self._picture("trouble", MESSAGE, "ModelsLab hasn't accepted the request yet")

    async def _failure(self) -> None:
        """A slip: try it again, in vain, and then what was meant."""
        self.modelslab.answer("midjorney", error(200, "Model not found: midjorney"))
        async with self._seen(MESSAGE, "was not reloaded"):
            await self._say("/reload-model midjorney")
        await self._picture("failure", MESSAGE, "was not reloaded", lines=2)
        async with self._told("Reloading midjorney"), self._seen(MESSAGE, "was not reloaded"):
            await self.page.press(messages.TRY_AGAIN, MESSAGE, "was not reloaded")
        assert [call.model_id for call in self.modelslab.calls].count("midjorney") == 2
        async with self._told("Reloading midjourney"), self._seen(MESSAGE, "is reloading midjourney"):
            await self.page.press("midjourney", MESSAGE, "Did you mean")

    async def _picker(self) -> None:
        """The modal: an omission is marked, an ID begins a reload."""
        await self._say("/reload-model")
        await self.page.see(".modal-title", "Reload a model")
        await self.page.press("Reload", ".modal")
        await self.page.see(".modal-error", views.NOTHING_CHOSEN)
        await self.page.press("Cancel", ".modal")
        await self.page.see_no(".modal")
        await self._say("/reload-model")
        await self.page.type(".modal input.bk-plain-input", "sdxl")
        await self._picture("picker", ".modal")
        await self.page.press("Reload", ".modal")
        said = await self.page.see(".modal-body", "Reloading sdxl")
        assert "I'll ping you in" in said, said
        await self.page.press("Close", ".modal")
        await self.page.see_no(".modal")

    async def _status(self) -> None:
        """The bar moves, a second person joins, a stranger can't."""
        message = "is reloading sdxl"
        bar = await self._bar(MESSAGE, message)
        async with self._told("@Ada is already reloading sdxl. I'll ping you"):
            await self._act_as("Ben")
            await self.page.press(messages.NOTIFY_ME, MESSAGE, message)
        async with self._told("You don't have permission to reload models"):
            await self._act_as("Eve")
            await self.page.press(messages.NOTIFY_ME, MESSAGE, message)
        await self._picture("refusal", MESSAGE, "You don't have permission")
        await self._act_as("Ada")
        for _ in range(2):
            bar = await self._bar(MESSAGE, message, but=bar)
        await self._picture("status", MESSAGE, message)

    async def _follow_up(self) -> None:
        """It comes in the thread, for both, and takes a reminder."""
        await self.page.see(MESSAGE, "✓ sdxl · should be ready since", within=2.0 * RELOAD_SECONDS)
        await self.page.click(".messages .thread-summary")
        said = await self.page.see(_IN_THREAD, "should be ready now")
        assert "@Ada @Ben sdxl should be ready now." in said, said
        await self._picture("follow-up", _IN_THREAD, "should be ready now", lines=2)
        async with self._told("I'll remind you about sdxl"):
            await self.page.press(messages.REMIND_ME, _IN_THREAD, "should be ready now")
        await self.page.press("✕", ".thread-pane")

    async def _again(self) -> None:
        """A while later the status message offers another reload, and so does the history."""
        closed = "✓ sdxl · should be ready since"
        again = f"{MESSAGE}:has(button.bk-button)"
        await self.page.see(again, closed, within=REPEAT_AFTER * RELOAD_SECONDS + 30.0)
        offered = f"{found(f'{MESSAGE} button', 'Reload sdxl again')}?.textContent"
        while not await self.page.run(offered):  # a moment after the status message
            async with self._told("Recent reloads"):
                await self._say("/reload-model history")
        await self._picture("history", MESSAGE, "Recent reloads")
        async with self._told("Reloading sdxl"), self._seen(MESSAGE, "is reloading sdxl"):
            await self.page.press(messages.RELOAD_AGAIN, f"{again}:not(:has(.badge-eph))", closed)

    async def _home(self) -> None:
        """The Home tab shows it all, opens the picker, and drops a reminder."""
        await self.page.click(".sidebar-item", "reload-model")
        said = await self.page.see(".home", "no such model")
        for title in ("Reloading now", "Recent reloads", "My reminders"):
            assert title in said, said
        home = ".home-inner"
        shown = await self._bar(home)
        for _ in range(3):
            shown = await self._bar(home, but=shown)
        await self._picture("home", home)
        for label in ("Reload a model", "Reload midjourney again", "Try midjorney again"):
            await self.page.press(label, home)
            await self.page.see(".modal-title", "Reload a model")
            await self.page.press("Cancel", ".modal")
            await self.page.see_no(".modal")
        await self.page.press("Stop reminding me about sdxl", home)
        await self.page.see_no(".home button", "Stop reminding")

    async def _thread(self) -> None:
        """Two models at once, one by its page's address; and a mention in a thread, where commands can't be used."""
        await self.page.click(".sidebar-item", "art")
        async with self._told("Reloading aurora"):
            await self._say("/reload-model orca, https://modelslab.com/models/acme/aurora")
        await self._say("Is zephyr gone again?")
        await self.page.see(MESSAGE, "Is zephyr gone again?")
        await self.page.run(
            f"{found(MESSAGE, 'Is zephyr gone again?')}.querySelector('[title=\"Reply in thread\"]').click()"
        )
        await self.page.type(".thread-pane textarea", "@reload-model zephyr", enter=True)
        await self.page.see(_IN_THREAD, "Reloading zephyr. I'll ping you here")
        await self.page.see(_IN_THREAD, "should be ready now", within=4.0 * RELOAD_SECONDS)
        await self.page.see(_IN_THREAD, "✓ zephyr")
        await self._picture("thread", ".thread-body")
        await self.page.press("✕", ".thread-pane")

    async def _say(self, text: str) -> None:
        """Type into the channel, and send it."""
        await self.page.type(".main textarea", text, enter=True)

    async def _act_as(self, name: str) -> None:
        """Choose a person from the list. The system draws that, so the choice is made in the page."""
        await self.page.run(
            "const list = document.querySelector('.actas select');"
            f"list.value = [...list.options].find((option) => option.text === {json.dumps(name)}).value;"
            "list.dispatchEvent(new Event('change', {bubbles: true}))"
        )

    @asynccontextmanager
    async def _seen(self, selector: str, text: str) -> AsyncIterator[None]:
        """See one more that holds a text than before."""
        count = f"all({json.dumps(selector)}, {json.dumps(text)}).length"
        before = await self.page.run(count)
        yield
        await self.page.until(f"{count} > {before}")

    def _told(self, text: str) -> AbstractAsyncContextManager[None]:
        """See one more private answer that holds a text."""
        return self._seen(f"{MESSAGE}:has(.badge-eph)", text)

    async def _bar(self, selector: str, text: str = "", *, but: str = "") -> str:
        """The bar in the last such element, once it is not what it was."""
        script = f"{found(selector, text)}?.textContent.match(/[▓░]{{10}} \\d+ %/)?.[0] ?? ''"
        return str(await self.page.until(f"const bar = {script}; bar !== {json.dumps(but)} && bar"))

    async def _picture(self, name: str, selector: str, text: str = "", *, lines: int = 0) -> None:
        """Keep what the last such element looks like on a phone, where nothing may scroll sideways.

        lines is how many its text may take at most, if that is limited.
        """
        await self.page.size(*PHONE)
        await self.page.run(_DRAWN)
        wide = await self.page.run(_TOO_WIDE)
        assert not wide, f"{name} scrolls sideways: {wide}"
        short = not lines or await self.page.run(_LINES.format(element=found(selector, text), lines=lines))
        assert short, f"{name} takes more than {lines} lines"
        taken = await self.page.picture(selector, text)
        assert len(taken) <= 200_000, f"{name} has {len(taken)} bytes"
        (self.pictures / f"{name}.png").write_bytes(taken)
        await self.page.size(*DESKTOP)


def note(text: str) -> None:
    """Say how far it is."""
    sys.stdout.write(f"✓ {text}\n")
    sys.stdout.flush()
