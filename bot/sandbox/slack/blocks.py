"""Block Kit: what Slack would refuse, and what a person finds in it.

Validity comes from slack_sdk.models: what its types reject, or don't give back whole, is refused.
https://docs.slack.dev/reference/block-kit
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models import blocks as types
from slack_sdk.models.views import View

from bot.sandbox.wire import ApiError, JsonObject

_MESSAGE_BLOCKS = 50
_MESSAGE_CHARACTERS = 13_200
_OPTIONS = 100

_FIELDS = ("plain_text_input", "external_select", "conversations_select", "multi_users_select")

_MALFORMED = (SlackObjectFormationError, AttributeError, KeyError, TypeError, ValueError)
"""What slack_sdk.models raises for JSON that is too long, incomplete, or of another shape."""


@dataclass(frozen=True, slots=True)
class Button:
    """A button as a person sees it, and what Slack sends to the app when it is pressed."""

    text: str
    action_id: str
    block_id: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """What a person can choose in a select: the text they see, the value that the app gets, and the group's label."""

    text: str
    value: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """Something to fill in: its label, and the element that takes the answer, with its type in `kind`."""

    label: str
    block_id: str
    action_id: str
    kind: str
    element: JsonObject
    optional: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One block as a person sees it: what it says, and what can be pressed or filled in there."""

    text: str
    buttons: list[Button] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)


def checked_blocks(blocks: object) -> list[JsonObject]:
    """Read the blocks of a message. Raises ApiError where Slack would refuse them."""
    if not isinstance(blocks, list):
        raise ApiError("invalid_blocks_format")
    faults = [fault for block in blocks for fault in _faults(block, types.Block.parse)] or [*_duplicates(blocks)]
    if faults or len(blocks) > _MESSAGE_BLOCKS:
        raise ApiError("invalid_blocks", *faults)
    if len(json.dumps(blocks)) > _MESSAGE_CHARACTERS:
        raise ApiError("msg_blocks_too_long")
    return blocks


def checked_view(view: object, type_: str) -> JsonObject:
    """Read a view of this type. Raises ApiError where Slack would refuse it."""
    if not isinstance(view, dict) or view.get("type") != type_ or not isinstance(view.get("blocks"), list):
        raise ApiError("invalid_arguments", f"must be a view of type {type_} with blocks")
    if faults := _faults(view, lambda given: View(**given)) or [*_duplicates(view["blocks"])]:
        raise ApiError("invalid_arguments", *faults)
    if type_ == "modal" and "title" not in view:
        raise ApiError("invalid_arguments", "missing required field: title")
    if "submit" not in view and any(row.fields for row in rows(view["blocks"])):
        raise ApiError("invalid_arguments", "missing required field: submit")
    return view


def checked_options(answer: JsonObject) -> list[Option]:
    """Read what a typeahead offers, in groups or without. Raises ApiError where Slack would not show it."""
    kind, parse = ("option_groups", types.OptionGroup) if "option_groups" in answer else ("options", types.Option)
    given = answer.get(kind)
    listed: list[Any] = given if isinstance(given, list) else [None]
    if faults := [fault for each in listed for fault in _faults(each, lambda each: parse(**each))]:
        raise ApiError("invalid_arguments", *faults)
    found = [
        Option(option["text"]["text"], option["value"], each["label"]["text"] if "label" in each else "")
        for each in listed
        for option in each.get("options", [each])
    ]
    if len(found) > _OPTIONS:
        raise ApiError("invalid_arguments")
    return found


def identified(blocks: Sequence[JsonObject]) -> list[JsonObject]:
    """The blocks with the ids that Slack gives where the app gave none; here they stay the same each time."""
    copies = copy.deepcopy([*blocks])
    for number, block in enumerate(copies):
        block.setdefault("block_id", f"b{number}")
        for place, element in enumerate(_elements(block)):
            element.setdefault("action_id", f"a{place}")
    return copies


def rows(blocks: Sequence[JsonObject]) -> list[Row]:
    """What a person sees, from top to bottom; the texts are marked up as the app wrote them."""
    found = []
    for block in identified(blocks):
        row, id_ = Row("\n".join(_texts(block))), block["block_id"]
        for element in _elements(block):
            if element["type"] == "button":
                value = element.get("value", "")
                row.buttons.append(Button(element["text"]["text"], element["action_id"], id_, value))
            elif element["type"] in _FIELDS:
                label, optional = block["label"]["text"], block.get("optional", False)
                row.fields.append(Field(label, id_, element["action_id"], element["type"], element, optional))
        found.append(row)
    return found


def _faults(given: Any, parse: Callable[[Any], Any]) -> list[str]:  # noqa: ANN401 - any JSON can come
    try:
        known = parse(given).to_dict()
    except _MALFORMED as error:
        return [f"{error}: {given}"]
    return [] if known == given else [f"not all of this is known to slack_sdk.models: {given}"]


def _duplicates(blocks: Sequence[JsonObject]) -> Iterator[str]:
    """An action_id is unique in its block, a block_id in its message or view."""
    of_elements = ([element.get("action_id") for element in _elements(block)] for block in blocks)
    for ids in ([block.get("block_id") for block in blocks], *of_elements):
        yield from (f"{id_} exists already" for id_, count in Counter(ids).items() if id_ and count > 1)


def _elements(block: JsonObject) -> list[JsonObject]:
    """What can be pressed or filled in."""
    if block["type"] == "actions":
        return list(block["elements"])
    return [block[place] for place in ("accessory", "element") if place in block]


def _texts(block: JsonObject) -> Iterator[str]:
    context = block["elements"] if block["type"] == "context" else []
    for part in (block.get("text"), *block.get("fields", []), *context):
        if part and "text" in part:
            yield part["text"]
