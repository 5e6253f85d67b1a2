"""A button's value comes back as it went out, and nothing else is taken for one."""

import pytest

from bot.ui import blocks
from bot.ui.buttons import Action, Button, pressed

CHANNEL = "C0MODELS"


@pytest.mark.parametrize(
    "button",
    [
        Button("Notify me too", Action.JOIN, "7k3m9p", CHANNEL),
        Button("Try again", Action.AGAIN, "org/model.v1:main", CHANNEL),
        Button("Remind me before it idles out", Action.REMIND, "7k3m9p", CHANNEL),
        Button("Stop reminding", Action.STOP_REMINDING, "sdxl"),
        Button("Reload a model", Action.PICK),
        Button("Reload again", Action.PICK, "sdxl"),
    ],
    ids=lambda button: button.label,
)
def test_a_press_brings_back_what_the_button_was_made_of(button: Button) -> None:
    """Whatever its position in its block."""
    assert pressed(button.action_id(0), button.value) == (button.action, button.of, button.channel_id)
    assert pressed(button.action_id(24), button.value) == (button.action, button.of, button.channel_id)


@pytest.mark.parametrize(
    ("action_id", "value"),
    [
        ("", "C0MODELS|sdxl"),
        ("delete", "C0MODELS|sdxl"),
        ("again:", "C0MODELS|sdxl"),
        ("again:٣", "C0MODELS|sdxl"),
        ("again:0\n", "C0MODELS|sdxl"),
        ("again:0", ""),
        ("again:0", "sdxl"),
        ("again:0", "|sdxl"),
        ("again:0", "C0MODELS|"),
        ("again:0", "C0MODELS|<!channel>"),
        ("again:0", "C0MODELS|sdxl|more"),
        ("again:0", "c0models|sdxl"),
        ("join:0", "C0MODELS|" + "x" * 129),
        ("stop_reminding:0", "|"),
    ],
)
def test_anything_else_is_no_press(action_id: str, value: str) -> None:
    """Only what a button of this bot would bring back is read."""
    assert pressed(action_id, value) is None


def test_buttons_in_one_block_differ() -> None:
    """Slack refuses a block in which two have the same id."""
    row = blocks.actions([Button("a", Action.AGAIN, "a", CHANNEL), Button("b", Action.AGAIN, "b", CHANNEL)])

    assert row == {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "text": {"type": "plain_text", "text": label, "emoji": False},
                "action_id": f"again:{position}",
                "value": f"C0MODELS|{label}",
            }
            for position, label in enumerate("ab")
        ],
    }


@pytest.mark.parametrize(
    ("text", "shown"), [("sdxl", "sdxl"), ("0123456789", "0123456789"), ("0123456789a", "01234…789a")]
)
def test_a_long_id_is_shortened_in_the_middle(text: str, shown: str) -> None:
    """Both of its ends tell which it is."""
    assert blocks.middle(text, 10) == shown
