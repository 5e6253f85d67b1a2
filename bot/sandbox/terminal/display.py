"""What people see of the app at the terminal, with a number for all that they can press or fill in."""

import re
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from bot.sandbox.slack.blocks import Button, Field, Row, rows
from bot.sandbox.slack.service import Ack, SandboxSlack
from bot.sandbox.slack.surfaces import Home, Modal, View
from bot.sandbox.slack.workspace import Message
from bot.sandbox.terminal.screen import GLUE, Screen, place, plain

_CODE = re.compile(r"`([^`]+)`")
_SUBMIT = "submit"
_EXAMPLES = {"plain_text_input": "sdxl", "conversations_select": "#ops", "multi_users_select": "eve"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Something with a number. `act` takes the id of who does it, and the text after the number.

    `owner` is the one person who sees it, None where everybody does; `value` is what a field holds, None for a button.
    """

    label: str
    act: Callable[[str, str], Awaitable[Ack | None]]
    owner: str | None
    value: str | None = None


class Display:
    """Shows messages, modals and Home tabs as they come, with `choices` by number. `shown` counts what was new."""

    def __init__(self, slack: SandboxSlack, screen: Screen) -> None:
        self.shown = 0
        self.choices: dict[int, Choice] = {}
        self._numbers: dict[Hashable, dict[Hashable, int]] = {}
        self._next_number = count(1)
        self._opening: set[str] = set()
        self._slack = slack
        self._screen = screen
        slack.on_message, slack.on_modal, slack.on_home = self._show_message, self._show_modal, self._show_home

    async def open_home(self, user: str) -> Ack:
        """Open a person's Home tab; it shows when the app publishes it."""
        self._opening.add(user)
        return await self._slack.open_home(user)

    def channel_id(self, name: str) -> str:
        """Find a channel by its name. Raises LookupError, with the names that would work."""
        channels = {channel.name: channel.id for channel in self._slack.channels.values() if not channel.person}
        if name not in channels:
            known = listed([f"#{each}" for each in channels], "or")
            raise LookupError(f"There is no channel #{name} here. Try {known}.")
        return channels[name]

    def user_id(self, name: str) -> str:
        """Find a person by their name. Raises LookupError, with the names that would work."""
        ids = {name: user_id for user_id, name in self._slack.users.items()}
        if name not in ids:
            raise LookupError(f"There is nobody called {name} here. Try {listed(ids, 'or')}.")
        return ids[name]

    def _show_message(self, message: Message) -> None:
        """Show a new message below the rest, and an edited one in its place where that is still on the screen."""
        speaker, thread = "reload-model:", "reply" if message.broadcast else "in thread"
        if message.user:
            speaker = self._only(message.user, f", {thread}" if message.thread_ts else "")
        elif message.thread_ts:
            speaker = f"reload-model ({thread}):"
        key, where = (message.channel, message.ts), place(message.channel, self._slack)
        text = self._text(key, message, rows(message.blocks) or [Row(message.text)])
        if not message.edits:
            self._add(where, speaker, text, key)
        elif not self._screen.redraw(where, speaker, text, key):
            self._screen.draw(where, f"(edited) {speaker}", text, key)

    def _show_home(self, home: Home) -> None:
        """Show a Home tab that was just opened; one that was opened before changes in its place."""
        key = ("home", home.user)
        text = self._text(key, home, home.rows)
        if home.user in self._opening:
            self._opening.remove(home.user)
            self._add("home", self._only(home.user), text, key)
        else:
            self._screen.redraw("home", self._only(home.user), text, key)

    def _show_modal(self, modal: Modal, *, filled_in: bool = False) -> None:
        """Show a modal that the app opens or changes below the rest, and one that is filled in in its place."""
        shown, submit = [Row(modal.title), *modal.rows], modal.view["submit"]
        if submit:
            shown.append(Row("", [Button(submit["text"], _SUBMIT, _SUBMIT)]))
        self._number(("options", modal.id), {})
        text = self._text(modal.id, modal, shown if modal.open else [])
        if modal.open and modal.fields:
            first, *_, last = sorted(self._numbers[modal.id].values())
            example = _EXAMPLES.get(modal.fields[0].kind, "sdxl")
            text += f"\n{first} {example} fills in [{first}]; {last} alone presses [{last}]."
        drawn = ("modal", self._only(modal.user), text, modal.id)
        if modal.open and not (filled_in and self._screen.redraw(*drawn)):
            self._add(*drawn)

    def _add(self, where: str, speaker: str, text: str, key: Hashable) -> None:
        self.shown += 1
        self._screen.draw(where, speaker, text, key)

    def _only(self, user: str, how: str = "") -> str:
        return f"(only {self._slack.users.get(user, user)} sees{how})"

    def _text(self, surface: Hashable, source: Message | View, shown: Sequence[Row]) -> str:
        """Write rows as lines, with a number for what can be pressed or filled in."""
        choices = [self._choices_in(row, source) for row in shown]
        labels = self._number(surface, {thing: choice for row in choices for thing, choice in row.items()})
        lines = []
        for row, things in zip(shown, choices, strict=True):
            numbered = [labels[thing] for thing in things]
            lines += [plain(row.text, self._slack)] if row.text else []
            lines += ["  ".join(numbered)] if row.buttons else numbered
        return "\n".join(lines)

    def _choices_in(self, row: Row, source: Message | View) -> dict[Hashable, Choice]:
        """What can be pressed or filled in in a row; a button beside a text is named after the model there."""
        found: dict[Hashable, Choice] = {}
        model = _CODE.search(row.text)
        for button in row.buttons:
            label = f"{button.text}: {model[1]}" if model else button.text
            found[button.action_id, button.value] = Choice(label, partial(self._press, source, button), source.user)
        for field in row.fields:
            assert isinstance(source, Modal)  # noqa: S101 - nothing else can have any: see bot.sandbox.slack.blocks
            value, error = source.value(field), source.errors.get(field.label, "")
            shown = place(value, self._slack) or "-"
            if field.kind == "multi_users_select":
                shown = ", ".join(self._slack.users[user_id] for user_id in value.split()) or "-"
            act = partial(self._fill_in, source, field)
            found[field.action_id] = Choice(field.label, act, source.user, f"{shown} ({error})" if error else shown)
        return found

    def _number(self, surface: Hashable, things: Mapping[Hashable, Choice]) -> dict[Hashable, str]:
        """Number what a surface shows: what stays there keeps its number, what is gone loses it."""
        before = self._numbers.get(surface, {})
        numbers = {thing: before.get(thing) or next(self._next_number) for thing in things}
        for thing in before.keys() - numbers.keys():
            del self.choices[before[thing]]
        self._numbers[surface] = numbers
        labels = {}
        for thing, choice in things.items():
            self.choices[numbers[thing]] = choice
            value = "" if choice.value is None else f": {choice.value}"
            labels[thing] = f"[{numbers[thing]}] {choice.label}".replace(" ", GLUE) + value
        return labels

    async def _press(self, source: Message | View, button: Button, user: str, _text: str) -> Ack:
        if isinstance(source, Modal) and button.block_id == _SUBMIT:
            return await self._slack.submit(source, user=user)
        return await self._slack.press(source, button, user=user)

    async def _fill_in(self, modal: Modal, field: Field, user: str, text: str) -> None:
        """Fill in a field. A typeahead takes the one option that it finds, or shows those that it finds."""
        if field.kind != "external_select":
            await self._choose(modal, field, self._value(field, text), user, text)
        elif len(options := await self._slack.suggest(modal, text, user=user)) == 1:
            await self._choose(modal, field, options[0].value, user, text)
        else:
            choose = partial(self._choose, modal, field)
            found: dict[Hashable, Choice] = {
                option: Choice(option.text, partial(choose, option.value), user) for option in options
            }
            labels = self._number(("options", modal.id), found)
            groups: dict[str, list[str]] = {}
            for option in options:
                groups.setdefault(f"{option.group}: " if option.group else "", []).append(labels[option])
            lines = [group + "  ".join(shown) for group, shown in groups.items()] or ["nothing found"]
            self._add("modal", self._only(user), "\n".join([f"{field.label}: {text}", *lines]), None)

    def _value(self, field: Field, text: str) -> str:
        """What a field holds when this is typed into it. Raises LookupError, with the names that would work."""
        if field.kind == "multi_users_select":
            return " ".join(map(self.user_id, text.lower().replace(",", " ").split()))
        return text if field.kind == "plain_text_input" else self.channel_id(text.removeprefix("#").lower())

    async def _choose(self, modal: Modal, field: Field, value: str, _user: str, _text: str) -> None:
        self.shown += 1
        modal.filled[field.action_id] = value
        modal.errors.pop(field.label, None)
        self._show_modal(modal, filled_in=True)


def listed(words: Collection[str], last: str) -> str:
    """Write a list as people say it: "ada, ben or eve"."""
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final
