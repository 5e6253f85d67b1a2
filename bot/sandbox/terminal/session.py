"""A session at the terminal: lines that people type, and what comes of them."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from html import escape

from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack.service import Ack, SandboxSlack
from bot.sandbox.terminal.display import Choice, Display, listed
from bot.sandbox.terminal.screen import Screen, ended
from bot.sandbox.wire import ApiError

COMMAND = "/reload-model"
MENTION = "@reload-model"
SHORTCUT = "reload_model"
EXAMPLE = f"{COMMAND} sdxl"

_LINE = re.compile(r"(?:(?P<who>[^\s:#/]*)\s*(?:#(?P<where>[^\s:]+))?\s*:\s*)?(?P<what>.*)", re.DOTALL)
_WAIT = re.compile(r"wait +(\d{1,4}(?:\.\d+)?)", re.IGNORECASE)


class Session:
    """Plays lines as the person who spoke last, in `who` and `where`. `answered` is whether the bot answered all."""

    answer_seconds = 5.0
    """How long to wait for something to show when somebody has done something."""
    quiet_seconds = 1.0
    """How long to wait, at the end, for what doesn't take as long as a reload."""

    def __init__(
        self, slack: SandboxSlack, modelslab: SandboxModelsLab, screen: Screen, usual: Mapping[str, str], help_: str
    ) -> None:
        """`usual` is the channel where each person usually is, by their names."""
        self.who, self.where = next(iter(usual.items()))
        self.answered = True
        self._slack = slack
        self._modelslab = modelslab
        self._screen = screen
        self._display = Display(slack, screen)
        self._usual = usual
        self._help = help_

    async def play(self, line: str) -> bool:
        """Play one line, and wait for what comes of it. False where the line ends the session."""
        found = _LINE.fullmatch(line.strip())
        assert found is not None  # noqa: S101 - it matches anything
        word, _, rest = found["what"].partition(" ")
        if word.lower() in ("exit", "quit"):
            return False
        try:
            if word.lower() in ("help", "?"):
                self._screen.note(self._help)
            elif word.startswith("#"):
                self._screen.note(found["what"])
            elif wait := _WAIT.fullmatch(found["what"]):
                await asyncio.sleep(float(wait[1]))
            elif found[0]:
                self._move(found["who"], found["where"])
                await self._act(word, rest.strip())
        except LookupError as mistake:
            self._screen.note(str(mistake.args[0]))
        return True

    async def settle(self, within: float) -> None:
        """Wait for the reloads that are running, for at most so many seconds."""
        await asyncio.sleep(self.quiet_seconds)
        if running := self._running():
            self._screen.note(f"Waiting for the reload of {listed(running, 'and')}. Ctrl-C leaves at once.")
            with suppress(TimeoutError):
                await self._slack.wait_until(lambda: not self._running(), within=within)
            await asyncio.sleep(self.quiet_seconds)
        for model_id in self._running():
            self.answered = False
            self._screen.note(f"The bot has not said in time how {model_id} went.")

    def _move(self, who: str | None, where: str | None) -> None:
        """Speak as somebody, somewhere; by default as before. Raises LookupError, with the names that would work."""
        name = (who or self.who).lower()
        self._display.user_id(name)
        channel = (where or (self._usual[name] if who else self.where)).lower()
        self._display.channel_id(channel)
        self.who, self.where = name, channel

    async def _act(self, word: str, rest: str) -> None:
        """Do what somebody typed, and wait until it shows. Raises LookupError, with what would have worked."""
        before = self._display.shown
        try:
            ack = await self._do(word, rest)
            error = ack.error.partition(":")[0] if ack else ""
        except ApiError as refused:
            error = refused.code
        if error:
            self.answered = False
            self._screen.draw(f"#{self.where}", f"(only {self.who} sees)", f"That failed with the error {error}.")
            return
        try:
            await self._slack.wait_until(lambda: self._display.shown > before, within=self.answer_seconds)
        except TimeoutError:
            self._screen.note("The bot has shown nothing new.")

    async def _do(self, word: str, rest: str) -> Ack | None:
        user, channel = self._display.user_id(self.who), self._display.channel_id(self.where)
        number = word.strip("[]")
        if word == COMMAND:
            self._say(f"{word} {rest}")
            return await self._slack.command(rest, user=user, channel=channel)
        if re.fullmatch(r"\d{1,9}", number):
            choice = self._choice(int(number), rest)
            self._say(f"[{number}] {choice.label}{': ' if rest else ''}{rest}")
            return await choice.act(user, rest)
        if word.lower() in (MENTION, "reply", "dm"):
            return await self._write(word.lower(), rest, user, channel)
        if word.lower() == "home":
            self._say("opens the Home tab")
            return await self._display.open_home(user)
        if word.lower() == "shortcut":
            self._say(f"uses the shortcut {SHORTCUT}")
            return await self._slack.shortcut(SHORTCUT, user=user, channel=channel)
        raise LookupError(self._hint(word, rest))

    async def _write(self, word: str, rest: str, user: str, channel: str) -> Ack:
        """Write to the bot: a mention in the channel, or in the thread of the last message there, or a direct message.

        https://docs.slack.dev/messaging/formatting-message-text#escaping
        """
        if word == "dm":
            if not rest:
                raise LookupError(f"What does {self.who} write? Try: dm sdxl")
            self._screen.draw("DM", f"{self.who}:", rest)
            return await self._slack.write(escape(rest, quote=False), user=user)
        replies, thread_ts = word == "reply", ""
        mention, _, text = (rest if replies else f"{word} {rest}").partition(" ")
        if mention.lower() != MENTION:
            raise LookupError(f"A reply has to mention the bot. Try: reply {MENTION} sdxl")
        if replies and not (thread_ts := self._slack.threads.get(channel, "")):
            raise LookupError(f"There is no message in #{self.where} to reply to. Try: {MENTION} sdxl")
        self._say(f"{MENTION} {text}", " (in thread)" if replies else "")
        return await self._slack.mention(escape(text, quote=False), user=user, channel=channel, thread_ts=thread_ts)

    def _say(self, what: str, how: str = "") -> None:
        self._screen.draw(f"#{self.where}", f"{self.who}{how}:", what.rstrip())

    def _hint(self, word: str, rest: str) -> str:
        """Say what would have worked instead of what somebody typed."""
        if not word:
            return f"What does {self.who} do? Try: {self.who}: {EXAMPLE}"
        if word.startswith("/") or word == COMMAND[1:]:
            return f"There is no command {word} here. Try: {COMMAND} {rest or 'sdxl'}"
        if word.startswith("@"):
            return f"There is nobody called {word} here. Try: {MENTION} {rest or 'sdxl'}"
        if word.lower() in self._slack.users.values():
            return f"A name is followed by a colon. Try: {word}: {rest or EXAMPLE}"
        return f"I don't understand '{f'{word} {rest}'.strip()}'. Try: {EXAMPLE} (or type help)"

    def _choice(self, number: int, text: str) -> Choice:
        """Find what has this number, for the one who speaks. Raises LookupError, with what would work."""
        choice = self._display.choices.get(number)
        if choice is None:
            there = [str(each) for each in sorted(self._display.choices)[-3:]]
            example = f"Try {listed(there, 'or')}." if there else f"Try: {EXAMPLE}"
            raise LookupError(f"There is no [{number}] now. {example}")
        if choice.owner not in (None, self._display.user_id(self.who)):
            owner = self._slack.users[choice.owner or ""]
            raise LookupError(f"Only {owner} sees [{number}]. Try: {owner}: {number} {text}".rstrip())
        if text and choice.value is None:
            raise LookupError(f"[{number}] takes nothing but its number. Try: {number}")
        return choice

    def _running(self) -> list[str]:
        """The models that ModelsLab was asked to reload, and of which the bot has not said yet how it went."""
        called = {call.model_id: call.at for call in self._modelslab.calls}
        said = {model_id: each.at for each in self._slack.messages for model_id in ended(each.text)}
        return [model_id for model_id, at in called.items() if said.get(model_id, 0.0) < at]
