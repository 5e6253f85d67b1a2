"""What is held against Slack's types leaves no message and no view out."""

import inspect

from slack_sdk.models.views import View

from bot.ui import access, lists, messages, views
from bot.ui.messages import Message
from tests.screenshots.typed import source


def test_every_message_and_view_is_held_against_the_types() -> None:
    """Whatever makes one is among them by its name."""
    made = {
        name
        for module, kinds in ((messages, (Message,)), (lists, (Message,)), (access, (Message, View)), (views, (View,)))
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(function).return_annotation in kinds
    } - {"option"}  # which is a part of one: of the picker that is filled in
    text, count = source()

    assert {"status", "follow_up", "running", "picker", "home"} <= made
    assert [name for name in made if f"export const {name}: " not in text] == []
    assert count >= len(made)
