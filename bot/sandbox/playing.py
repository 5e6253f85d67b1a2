"""Lines of the sandbox, played: who does what, what they see of it, and what they were promised.

Knows the bot by what it says.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from bot.sandbox.block_kit import Button
from bot.sandbox.lines import (
    COMMAND,
    Act,
    Cast,
    Choose,
    OpenHome,
    Place,
    Remark,
    Say,
    Shortcut,
    Type,
    Unclear,
    Wait,
    Word,
)
from bot.sandbox.promises import Promise, promise
from bot.sandbox.screen import Screen
from bot.sandbox.slack import Ack, SandboxSlack
from bot.sandbox.surfaces import Home, Modal
from bot.sandbox.workspace import Message, Refused

# How long what somebody does may take to show, in seconds.
_PATIENCE = 5.0

_PLACES = ("conversations_select", "channels_select")
_ANYONE = ""

_Do = Callable[[Place], Awaitable[Ack | None]]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Something with a number: what it says, how it is taken, and whose it is where one person alone sees it."""

    text: str
    take: _Do
    owner: str | None


class Tryout:
    """Plays lines, and keeps account of what was promised.

    `went_well` turns False for a line that could not be played, and for an act that nothing came of.
    """

    def __init__(self, slack: SandboxSlack, screen: Screen, cast: Cast, first: Place, help_: str) -> None:
        self._slack = slack
        self._screen = screen
        self._cast = cast
        self._help = help_
        self._promises: list[Promise] = []
        self._choices: list[_Choice] = []
        self._sights: Counter[str] = Counter()
        self._showing: set[asyncio.Task[None]] = set()
        # Who did something last in a channel, and into which channel a modal was submitted.
        self._actors: dict[str, str] = {}
        self._targets: dict[str, str] = {}
        self.last = first
        self.went_well = True
        slack.on_message = self._saw_message
        slack.on_modal = self._saw_modal

    async def play(self, text: str) -> bool:
        """Play one line, and wait for what comes of it. False where the line ends the sandbox."""
        line = self._cast.read(text, self.last)
        match line:
            case Wait():
                await asyncio.sleep(line.seconds)
            case Remark():
                self._screen.note(line.text)
            case Unclear():
                self._stumble(f"{text.strip()!r} is not understood: {line.why}")
            case Word():
                if line is Word.HELP:
                    self._screen.note(self._help)
            case _:
                await self._act(line)
        return line is not Word.END

    async def settle(self, within: float) -> None:
        """Wait until all promises are kept, at most that many seconds, and name those that are not."""
        await self._shown()
        try:
            await self._slack.wait_until(lambda: not self._broken(), within=within)
        except TimeoutError:
            self.went_well = False
        for missing in self._broken():
            person, channel = self._slack.users[missing.user], self._slack.channels[missing.channel].name
            self._screen.note(
                f"missing: {person} was not told in #{channel} what became of {missing.model_id} "
                f"(reload {missing.reload_id})"
            )

    # What people do

    async def _act(self, line: Act) -> None:
        place, before = line.place, self._sights.copy()
        self.last = place
        self._actors[self._channel(place)] = self._user(place)
        try:
            what, do = self._meaning(line)
            self._screen.said(place.person, place.channel, what)
            ack = await do(place)
        except (LookupError, Refused) as why:
            self._stumble(f"{place.person} cannot do that: {why.args[0]}")
            return
        if ack is not None and ack.error:
            self.went_well = False
            self._screen.private(place.person, place.channel, f'{what} failed with the error "{ack.error}"')
            return
        await self._see(place, what, before)

    def _meaning(self, line: Act) -> tuple[str, _Do]:
        """What a line does, in words and as an act. Raises LookupError for a number that is none."""
        match line:
            case Say():
                return f"{COMMAND} {line.text}".rstrip(), partial(self._command, line.text)
            case Type():
                return f"types {line.text}".rstrip(), partial(self._type, line.text)
            case Shortcut():
                return f"uses the shortcut {line.text}", partial(self._shortcut, line.text)
            case OpenHome():
                return "opens the Home tab", self._open_home
            case _:
                choice = self._choice(line)
                return f"[{line.text}] {choice.text}", choice.take

    def _choice(self, line: Choose) -> _Choice:
        number = int(line.text)
        if not 0 < number <= len(self._choices):
            raise LookupError(f"there is no [{number}]")
        choice = self._choices[number - 1]
        if choice.owner not in (None, self._user(line.place)):
            raise LookupError(f"[{number}] is for somebody else")
        return choice

    async def _see(self, place: Place, what: str, before: Counter[str]) -> None:
        """Wait until something shows to whoever did this; what shows to others too may have come of something else."""
        user = self._user(place)
        with suppress(TimeoutError):
            await self._slack.wait_until(lambda: self._sights[user] > before[user], within=_PATIENCE)
        if self._sights[_ANYONE] == before[_ANYONE]:
            self._stumble(f"nothing came of what {place.person} did: {what}")
        await self._shown()

    async def _shown(self) -> None:
        """Wait until each modal that opened is on the screen."""
        while self._showing:
            await asyncio.gather(*self._showing)

    async def _command(self, text: str, place: Place) -> Ack:
        ack = await self._slack.command(text, user=self._user(place), channel=self._channel(place))
        if ack.message is not None:
            self._saw(self._user(place))
        return ack

    async def _shortcut(self, callback_id: str, place: Place) -> Ack:
        return await self._slack.shortcut(callback_id, user=self._user(place), channel=self._channel(place))

    async def _press(self, message: Message, button: Button, place: Place) -> Ack:
        if message not in self._slack.messages:
            raise LookupError("that message is gone")
        return await self._slack.press(message, button.text, user=self._user(place))

    async def _press_in(self, view: Modal | Home, button: Button, place: Place) -> Ack:
        return await self._slack.press_in(view, button.text, user=self._user(place))

    async def _type(self, text: str, place: Place) -> None:
        modals = self._slack.modals_of(self._user(place))
        if not modals:
            raise LookupError("there is no modal to type into")
        modal = modals[-1]
        options = await self._slack.suggest(modal, text, user=modal.user)
        field = next(field for field in modal.fields if field.kind == "external_select")
        chosen = [
            _Choice(option.text, partial(self._submit, modal, {field.action_id: option.value}), modal.user)
            for option in options
        ]
        self._screen.view("modal", place.person, [f"{field.label}: {text}"], self._numbered(chosen))
        self._saw(modal.user)

    async def _submit(self, modal: Modal, values: Mapping[str, str], place: Place) -> Ack:
        """Submit a modal into the channel where it was opened, or else into the one where its person is."""
        target = modal.channel or self._channel(place)
        self._targets[modal.id] = target
        places = {field.action_id: target for field in modal.fields if field.kind in _PLACES}
        ack = await self._slack.submit(modal, places | {**values}, user=modal.user)
        if modal.errors:
            self._screen.view("modal", place.person, [f"{label}: {words}" for label, words in modal.errors.items()])
            self._saw(modal.user)
        return ack

    async def _open_home(self, place: Place) -> None:
        user = self._user(place)
        before = self._slack.homes.get(user)
        await self._slack.open_home(user)
        with suppress(TimeoutError):
            await self._slack.wait_home(user, lambda home: home.view is not before, within=_PATIENCE)
        if user not in self._slack.homes:
            raise LookupError("the app shows no Home tab")
        home = await self._slack.wait_home(user, lambda _home: True)
        self._screen.view("home", place.person, home.texts, self._numbered(self._buttons_in(home)))
        self._saw(user)

    # What people see

    def _saw(self, user: str | None) -> None:
        self._sights.update({_ANYONE, user or _ANYONE})

    def _saw_message(self, message: Message) -> None:
        buttons = [_Choice(each.text, partial(self._press, message, each), message.user) for each in message.buttons]
        self._screen.message(message, self._numbered(buttons))
        self._note(message.text, message.user or self._actors.get(message.channel), message.channel)
        self._saw(message.user)

    def _saw_modal(self, modal: Modal) -> None:
        for text in modal.texts:
            self._note(text, modal.user, self._targets.get(modal.id, modal.channel))
        showing = asyncio.get_running_loop().create_task(self._show(modal))
        self._showing.add(showing)
        showing.add_done_callback(self._showing.discard)
        self._saw(modal.user)

    async def _show(self, modal: Modal) -> None:
        """Show a modal with what can be chosen in it: the options of its first select, or else to submit it."""
        submit, buttons = modal.view["submit"], self._buttons_in(modal)
        chosen: list[_Choice] = []
        person = self._slack.users[modal.user]
        try:
            chosen = [
                _Choice(option.text, partial(self._submit, modal, {field.action_id: option.value}), modal.user)
                for field in [each for each in modal.fields if each.kind in ("external_select", "static_select")][:1]
                for option in field.options or await self._slack.suggest(modal, "", user=modal.user)
            ]
        except Refused as why:
            self._stumble(f"{person} is offered nothing: {why}")
        if isinstance(submit, dict) and not chosen:
            chosen = [_Choice(str(submit.get("text")), partial(self._submit, modal, {}), modal.user)]
        self._screen.view("modal", person, [modal.title, *modal.texts], self._numbered([*chosen, *buttons]))

    def _buttons_in(self, view: Modal | Home) -> list[_Choice]:
        return [_Choice(button.text, partial(self._press_in, view, button), view.user) for button in view.buttons]

    def _numbered(self, choices: Sequence[_Choice]) -> list[str]:
        """Give numbers that no other choice has."""
        first = len(self._choices) + 1
        self._choices += choices
        return [f"[{number}] {choice.text}" for number, choice in enumerate(choices, first)]

    # What was promised

    def _note(self, text: str, user: str | None, channel: str) -> None:
        found = promise(text, user, channel) if user else None
        if found is not None and found not in self._promises:
            self._promises.append(found)

    def _broken(self) -> list[Promise]:
        return [each for each in self._promises if not each.kept_by(self._slack.messages)]

    def _stumble(self, why: str) -> None:
        self.went_well = False
        self._screen.note(why)

    def _user(self, place: Place) -> str:
        return self._cast.people[place.person].id

    def _channel(self, place: Place) -> str:
        return self._cast.channels[place.channel]
