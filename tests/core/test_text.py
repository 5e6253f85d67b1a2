"""Text from outside can be shown, whatever is in it."""

import pytest

from bot.core.text import code, harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two lines"),
        ("a\r\n\tb", "a   b"),
        ("non\u00a0breaking", "non breaking"),
        ("line\u2028para\u2029next\x85x", "line para next x"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("\ud800\ue000", "\ufffd\ufffd"),
        ("żółw 模型 🐢", "żółw 模型 🐢"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 19 + "…"),
        ("x" * 19 + "\x00" * 10_000, "x" * 19 + "…"),
    ],
)
def test_what_cannot_be_seen_is_made_visible(text: str, shown: str) -> None:
    """Spaces of any kind become spaces, what draws nothing becomes a mark, letters stay, and a long text is cut."""
    assert shown == harmless(text, 20)


def test_code_is_never_empty_and_no_longer_than_an_id() -> None:
    """tests/scenarios/test_who.py shows that markup is escaped in it, and that it can't be left early."""
    assert (code(""), code("x" * 200)) == ("` `", f"`{'x' * 127}…`")
