"""Block Kit as Slack takes it: its limits, and what a person finds in it. Pure: knows nothing of where it is shown.

https://docs.slack.dev/reference/block-kit and https://docs.slack.dev/reference/views give the limits. What is
checked is what this repository may use; other blocks and elements are refused as unknown.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bot.sandbox.wire import JsonObject, JsonValue, text_of

_ID = 255
_OPTIONS = 100


@dataclass(frozen=True, slots=True)
class _Text:
    """A text object: its most characters, whether it may be left out, and whether it may be mrkdwn."""

    most: int
    optional: bool = False
    mrkdwn: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    """What there is in one kind of object: text objects, strings by their longest, lists by their longest, the rest."""

    texts: Mapping[str, _Text] = field(default_factory=dict)
    strings: Mapping[str, int] = field(default_factory=dict)
    lists: Mapping[str, int] = field(default_factory=dict)
    rest: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()

    @property
    def fields(self) -> set[str]:
        """All that may be in it, besides its type."""
        return {*self.texts, *self.strings, *self.lists, *self.rest}


def _select(*rest: str, lists: Mapping[str, int] | None = None, required: frozenset[str] = frozenset()) -> _Kind:
    return _Kind(
        {"placeholder": _Text(150, optional=True)},
        {"action_id": _ID},
        lists or {},
        frozenset({"confirm", "focus_on_load", *rest}),
        required,
    )


_BLOCKS: Final[Mapping[str, _Kind]] = {
    "actions": _Kind(lists={"elements": 25}, required=frozenset({"elements"})),
    "context": _Kind(lists={"elements": 10}, required=frozenset({"elements"})),
    "divider": _Kind(),
    "header": _Kind({"text": _Text(150)}),
    "image": _Kind(
        {"title": _Text(2000, optional=True)},
        {"image_url": 3000, "alt_text": 2000},
        required=frozenset({"image_url", "alt_text"}),
    ),
    "input": _Kind(
        {"label": _Text(2000), "hint": _Text(2000, optional=True)},
        rest=frozenset({"element", "optional", "dispatch_action"}),
        required=frozenset({"element"}),
    ),
    "section": _Kind(
        {"text": _Text(3000, optional=True, mrkdwn=True)}, {}, {"fields": 10}, frozenset({"accessory", "expand"})
    ),
}
_BUTTON = _Kind(
    {"text": _Text(75)},
    {"action_id": _ID, "value": 2000, "url": 3000, "style": 7, "accessibility_label": 75},
    rest=frozenset({"confirm"}),
)
_TEXT_INPUT = _Kind(
    {"placeholder": _Text(150, optional=True)},
    {"action_id": _ID, "initial_value": 3000},
    rest=frozenset({"multiline", "min_length", "max_length", "dispatch_action_config", "focus_on_load"}),
)
_SELECTS: Final[Mapping[str, _Kind]] = {
    "static_select": _select("initial_option", lists={"options": _OPTIONS}, required=frozenset({"options"})),
    "external_select": _select("initial_option", "min_query_length"),
    "conversations_select": _select(
        "initial_conversation", "default_to_current_conversation", "response_url_enabled", "filter"
    ),
    "channels_select": _select("initial_channel", "response_url_enabled"),
    "users_select": _select("initial_user"),
}
_ELEMENTS: Final[Mapping[str, _Kind]] = {
    "button": _BUTTON,
    "overflow": _select(lists={"options": 5}, required=frozenset({"options"})),
    **_SELECTS,
}
_IMAGE = _Kind({}, {"image_url": 3000, "alt_text": 2000}, required=frozenset({"image_url", "alt_text"}))
_OPTION = _Kind(
    {"text": _Text(75), "description": _Text(75, optional=True)},
    {"value": 150, "url": 3000},
    required=frozenset({"value"}),
)
_PARTS: Final[Mapping[str, _Kind]] = {
    "confirm": _Kind(
        {"title": _Text(100), "text": _Text(300, mrkdwn=True), "confirm": _Text(30), "deny": _Text(30)}, {"style": 7}
    ),
    "filter": _Kind(lists={"include": 4}, rest=frozenset({"exclude_external_shared_channels", "exclude_bot_users"})),
}
_VIEWS: Final[Mapping[str, _Kind]] = {
    "modal": _Kind(
        {"title": _Text(24), "submit": _Text(24, optional=True), "close": _Text(24, optional=True)},
        {"callback_id": _ID, "private_metadata": 3000, "external_id": _ID},
        {"blocks": 100},
        frozenset({"clear_on_close", "notify_on_close", "submit_disabled"}),
        frozenset({"blocks"}),
    ),
    "home": _Kind(
        {},
        {"callback_id": _ID, "private_metadata": 3000, "external_id": _ID},
        {"blocks": 100},
        required=frozenset({"blocks"}),
    ),
}


# --- what Slack would refuse ------------------------------------------------------------------------------


def faults_of_message(blocks: Sequence[JsonObject]) -> list[str]:
    """What Slack would find wrong with the blocks of a message, each fault with the JSON pointer to it."""
    return [*_faults_of_blocks(blocks, "/blocks", in_modal=False)]


def faults_of_view(view: JsonObject) -> list[str]:
    """What Slack would find wrong with a view, each fault with the JSON pointer to it."""
    kind = _VIEWS.get(text_of(view.get("type")))
    if kind is None:
        return [_fault("unsupported type: a view is a modal or home", "/view/type")]
    faults = [*_faults_of(view, kind, "/view")]
    blocks = objects(view.get("blocks"))
    if len(blocks) < len(_listed(view.get("blocks"))):
        faults.append(_fault("must hold objects", "/view/blocks"))
    modal = view["type"] == "modal"
    if modal and "submit" not in view and any(block.get("type") == "input" for block in blocks):
        faults.append(_fault("missing required field: submit, as there are inputs", "/view"))
    return [*faults, *_faults_of_blocks(blocks, "/view/blocks", in_modal=modal)]


def faults_of_options(options: JsonValue) -> list[str]:
    """What Slack would find wrong with the options that a typeahead is answered with."""
    return [*_faults_of({"options": options}, _Kind(lists={"options": _OPTIONS}), ""), *_faults_of_each(options, "")]


def _fault(says: str, at: str) -> str:
    return f"[ERROR] {says} [json-pointer:{at}]"


def _faults_of(part: JsonObject, kind: _Kind, at: str) -> Iterator[str]:
    for name in sorted(kind.required - part.keys()):
        yield _fault(f"missing required field: {name}", at)
    for name in sorted(part.keys() - kind.fields - {"type"}):
        yield _fault(f"invalid additional property: {name}", at)
    for name, text in kind.texts.items():
        yield from _faults_of_text(part.get(name), text, f"{at}/{name}")
    for name, most in kind.strings.items():
        if name in part and not (isinstance(said := part[name], str) and len(said) <= most):
            yield _fault(f"must be a string of less than {most + 1} characters", f"{at}/{name}")
    for name, most in kind.lists.items():
        if name in part and not (isinstance(listed := part[name], list) and 0 < len(listed) <= most):
            yield _fault(f"must be a list of 1 to {most} items", f"{at}/{name}")


def _faults_of_text(value: JsonValue, text: _Text, at: str) -> Iterator[str]:
    if value is None and text.optional:
        return
    types = ("plain_text", "mrkdwn") if text.mrkdwn else ("plain_text",)
    if not isinstance(value, dict) or value.get("type") not in types:
        yield _fault(f"must be a text object of type {' or '.join(types)}", at)
    elif not 0 < len(text_of(value.get("text"))) <= text.most:
        yield _fault(f"must be more than 0 and less than {text.most + 1} characters", f"{at}/text")


def _faults_of_blocks(blocks: Sequence[JsonObject], at: str, *, in_modal: bool) -> Iterator[str]:
    ids = [text_of(block["block_id"]) for block in blocks if "block_id" in block]
    for twice in _doubled(ids):
        yield _fault(f"block_id {twice!r} already exists", at)
    for number, block in enumerate(blocks):
        yield from _faults_of_block(block, f"{at}/{number}", in_modal=in_modal)


def _doubled(ids: Sequence[str]) -> list[str]:
    return sorted({each for each in ids if ids.count(each) > 1})


def _faults_of_block(block: JsonObject, at: str, *, in_modal: bool) -> Iterator[str]:
    kind = _BLOCKS.get(text_of(block.get("type")))
    if kind is None:
        yield _fault(f"unsupported type: {block.get('type')}", f"{at}/type")
        return
    yield from _faults_of(block, replace(kind, strings={**kind.strings, "block_id": _ID}), at)
    yield from _faults_within(block, at, in_modal=in_modal)


def _faults_within(block: JsonObject, at: str, *, in_modal: bool) -> Iterator[str]:
    match block["type"]:
        case "section":
            if not block.keys() & {"text", "fields"}:
                yield _fault("missing required field: text or fields", at)
            for number, text in enumerate(_listed(block.get("fields"))):
                yield from _faults_of_text(text, _Text(2000, mrkdwn=True), f"{at}/fields/{number}")
            if "accessory" in block:
                yield from _faults_of_element(block["accessory"], {"image": _IMAGE, **_ELEMENTS}, f"{at}/accessory")
        case "actions":
            yield from _faults_of_actions(_listed(block.get("elements")), f"{at}/elements")
        case "context":
            for number, element in enumerate(_listed(block.get("elements"))):
                if isinstance(element, dict) and element.get("type") == "image":
                    yield from _faults_of_element(element, {"image": _IMAGE}, f"{at}/elements/{number}")
                else:
                    yield from _faults_of_text(element, _Text(2000, mrkdwn=True), f"{at}/elements/{number}")
        case "input":
            inputs = {"plain_text_input": _TEXT_INPUT, **_SELECTS}
            yield from _faults_of_element(block.get("element"), inputs, f"{at}/element", answers=in_modal)


def _faults_of_actions(elements: Sequence[JsonValue], at: str) -> Iterator[str]:
    ids = [text_of(element["action_id"]) for element in objects([*elements]) if "action_id" in element]
    for twice in _doubled(ids):
        yield _fault(f"action_id {twice!r} already exists", at)
    for number, element in enumerate(elements):
        yield from _faults_of_element(element, _ELEMENTS, f"{at}/{number}")


def _faults_of_element(
    element: JsonValue, kinds: Mapping[str, _Kind], at: str, *, answers: bool = False
) -> Iterator[str]:
    kind = kinds.get(text_of(element.get("type"))) if isinstance(element, dict) else None
    if not isinstance(element, dict) or kind is None:
        yield _fault(f"unsupported element: there may be {', '.join(sorted(kinds))}", at)
        return
    yield from _faults_of(element, kind, at)
    yield from _faults_of_each(element.get("options"), at)
    for name, part in _PARTS.items():
        if name in element:
            given = element[name]
            yield from _faults_of(given if isinstance(given, dict) else {}, part, f"{at}/{name}")
    if element.get("style") not in (None, "primary", "danger"):
        yield _fault("must be primary or danger", f"{at}/style")
    if element.get("response_url_enabled") and not answers:
        yield _fault("response_url_enabled is for input blocks in modals", at)


def _faults_of_each(options: JsonValue, at: str) -> Iterator[str]:
    for number, option in enumerate(_listed(options)):
        if isinstance(option, dict):
            yield from _faults_of(option, _OPTION, f"{at}/options/{number}")
        else:
            yield _fault("must be an option", f"{at}/options/{number}")


# --- what a person finds --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Button:
    """A button as a person sees it, and what it says to the app when it is pressed."""

    text: str
    action_id: str
    block_id: str
    value: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """What a person can choose in a select: the text they see, and the value that the app gets."""

    text: str
    value: str

    @property
    def json(self) -> JsonObject:
        """The option as Slack sends it."""
        return {"text": {"type": "plain_text", "text": self.text, "emoji": True}, "value": self.value}


@dataclass(frozen=True, slots=True)
class Field:
    """Something to fill in: its label, "" where it has none, and the element that takes the answer."""

    label: str
    block_id: str
    element: JsonObject
    optional: bool = True

    @property
    def kind(self) -> str:
        """The type of the element."""
        return text_of(self.element.get("type"))

    @property
    def action_id(self) -> str:
        """The id of the element."""
        return text_of(self.element.get("action_id"))

    @property
    def options(self) -> list[Option]:
        """What can be chosen, as far as the element lists it."""
        return read_options(self.element.get("options"))


def identified(blocks: Sequence[JsonObject]) -> list[JsonObject]:
    """The blocks with the ids that Slack gives where the app gave none; these here stay the same each time."""
    copies = copy.deepcopy([*blocks])
    for number, block in enumerate(copies):
        block.setdefault("block_id", f"b{number}")
        for place, element in enumerate(_elements(block)):
            if element.get("type") in _ELEMENTS or element.get("type") == "plain_text_input":
                element.setdefault("action_id", f"a{place}")
    return copies


def buttons(blocks: Sequence[JsonObject]) -> list[Button]:
    """All buttons, from top to bottom."""
    return [
        Button(
            _words(element.get("text")),
            text_of(element.get("action_id")),
            text_of(block["block_id"]),
            text_of(element.get("value")),
            text_of(element.get("style")),
        )
        for block in identified(blocks)
        for element in _elements(block)
        if element.get("type") == "button"
    ]


def fields(blocks: Sequence[JsonObject]) -> list[Field]:
    """All that can be filled in, from top to bottom."""
    return [
        Field(
            _words(block.get("label")),
            text_of(block["block_id"]),
            element,
            optional=block.get("type") != "input" or block.get("optional") is True,
        )
        for block in identified(blocks)
        for element in _elements(block)
        if element.get("type") in _SELECTS or element.get("type") == "plain_text_input"
    ]


def texts(blocks: Sequence[JsonObject]) -> list[str]:
    """All that there is to read besides the buttons, from top to bottom, marked up as the app wrote it."""
    return [words for block in blocks for words in _read(block) if words]


def read_options(options: JsonValue) -> list[Option]:
    """Read a list of options."""
    return [Option(_words(each.get("text")), text_of(each.get("value"))) for each in objects(options)]


def objects(value: JsonValue) -> list[JsonObject]:
    """Those of a list that are objects; none of what is no list."""
    return [each for each in _listed(value) if isinstance(each, dict)]


def _read(block: JsonObject) -> Iterator[str]:
    yield from (_words(block.get(name)) for name in ("title", "text", "label", "hint"))
    yield text_of(block.get("alt_text"))
    yield from map(_words, _listed(block.get("fields")))
    if block.get("type") == "context":
        for element in objects(block.get("elements")):
            yield text_of(element.get("text")) or text_of(element.get("alt_text"))


def _elements(block: JsonObject) -> list[JsonObject]:
    return objects([*_listed(block.get("elements")), block.get("accessory"), block.get("element")])


def _words(text: JsonValue) -> str:
    return text_of(text.get("text")) if isinstance(text, dict) else ""


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
