"""The buttons of a message."""

import json

from slack_sdk.models.blocks import ActionsBlock, Block, ButtonElement, SectionBlock

from bot.ui import buttons
from bot.ui.buttons import Action
from bot.ui.messages import Message


def pressed(message: Message) -> list[tuple[str, Action, str, str]]:
    """The label of each of a message's buttons, and what a press of it brings back."""
    found: list[tuple[str, Action, str, str]] = []
    for block in message.blocks:
        parsed = Block.parse(json.loads(json.dumps(block)))
        accessory = [parsed.accessory] if isinstance(parsed, SectionBlock) else []
        elements = parsed.elements if isinstance(parsed, ActionsBlock) else accessory
        for button in elements:
            if isinstance(button, ButtonElement):
                brought = buttons.pressed(str(button.action_id), str(button.value))
                assert brought is not None
                found.append(
                    (str(button.text and button.text.text), brought.action, brought.of, brought.place.channel_id)
                )
    return found
