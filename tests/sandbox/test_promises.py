"""A promise is made by the words of an ack, and kept by a message that the person gets."""

import pytest

from bot.sandbox.promises import Promise, promise
from bot.sandbox.workspace import Message

MADE = Promise("U0ADA", "C0MODELS", "sdxl", "abc123")


def message(text: str, channel: str = "C0MODELS") -> Message:
    """A message in a channel."""
    return Message(channel, "1.0", text, [], "api", 1.0)


@pytest.mark.parametrize(
    "ack",
    [
        "Reloading `sdxl` (reload `abc123`). It should be ready about 14:32.",
        "`sdxl` is being reloaded already (reload `abc123`), asked for by you.",
    ],
)
def test_an_ack_that_promises(ack: str) -> None:
    """Whoever starts a reload or joins one will hear of it."""
    assert promise(ack, "U0ADA", "C0MODELS") == MADE


@pytest.mark.parametrize("ack", ["", "You may not reload models.", "Being reloaded: 1\n• `sdxl` (`abc123`)"])
def test_an_ack_that_promises_nothing(ack: str) -> None:
    """Refusals and lists promise nothing."""
    assert promise(ack, "U0ADA", "C0MODELS") is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<@U0ADA> `sdxl` should be ready now. (reload `abc123`)", True),
        ("<@U0BEN> <@U0ADA> `sdxl` was not reloaded: no. (reload `abc123`)", True),
        ("<@U0BEN> `sdxl` should be ready now. (reload `abc123`)", False),
        ("<@U0ADA> `sdxl` should be ready now. (reload `other`)", False),
        ("<@U0ADA> is reloading `sdxl` · reload `abc123`", False),
    ],
)
def test_what_keeps_a_promise(text: str, kept: object) -> None:
    """The person is mentioned, and told how this reload went."""
    assert MADE.kept_by([message("hello"), message(text)]) == kept


def test_a_promise_is_kept_where_it_was_made() -> None:
    """Another channel's follow-up is for others."""
    text = "<@U0ADA> `sdxl` should be ready now. (reload `abc123`)"

    assert not MADE.kept_by([message(text, "C0OPS")])
