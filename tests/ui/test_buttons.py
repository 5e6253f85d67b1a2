"""A button's value comes back as it went out, and nothing else is taken for one."""

from dataclasses import replace

import pytest

from bot.core.models import Place
from bot.ui.blocks import middle
from bot.ui.buttons import Action, Button, action_ids, pressed

CHANNEL = Place("C0MODELS")
THREAD = Place("C0MODELS", "1795787189.000100")


@pytest.mark.parametrize(
    "button",
    [
        Button("Notify me too", Action.JOIN, "7k3m9p", CHANNEL),
        Button("Try again", Action.AGAIN, "org/model.v1:main", CHANNEL),
        Button("Reload again", Action.AGAIN, "org/model.v1:main", THREAD),
        Button("Stop reminding", Action.STOP_REMINDING, "sdxl"),
        Button("Reload a model", Action.PICK),
        Button("Reload again", Action.PICK, "sdxl"),
    ],
    ids=lambda button: button.label,
)
def test_a_press_brings_back_what_the_button_was_made_of(button: Button) -> None:
    """Whatever its position in its block."""
    for position in (0, 24):
        sent = button.element(position)
        assert sent.action_id
        assert action_ids(button.action).search(sent.action_id)
        assert pressed(sent.action_id, str(sent.value)) == replace(button, label="")


def test_anything_else_is_no_press() -> None:
    """Only what a button of this bot would bring back is read."""
    for action_id in ("", "delete", "again:", "again:٣", "again:0\n"):
        assert pressed(action_id, "C0MODELS|sdxl") is None
    for value in ("", "sdxl", "|sdxl", "C0MODELS|", "C0MODELS|<!channel>", "C0MODELS|sdxl|more", "c0models|sdxl"):
        assert pressed("again:0", value) is None
    assert pressed("join:0", "C0MODELS|" + "x" * 129) is None
    assert pressed("stop_reminding:0", "|") is None
    # Bolt searches for an action's IDs anywhere in what Slack sends.
    for action_id in ("", "againn", "again:1234", "again:0\n", "\nagain:0", "join:0:again:0"):
        assert action_ids(Action.AGAIN).search(action_id) is None
    assert action_ids(Action.AGAIN).search("again")


def test_a_label_is_shown_as_it_is() -> None:
    """`:art:` in a model's ID isn't an emoji. A long ID is shortened in the middle: both ends tell which it is."""
    text = Button("a:art:", Action.AGAIN, "a:art:", CHANNEL).element(1).to_dict()["text"]

    assert text == {"type": "plain_text", "text": "a:art:", "emoji": False}
    assert [middle(label, 10) for label in ("0123456789", "0123456789a")] == ["0123456789", "01234…789a"]
