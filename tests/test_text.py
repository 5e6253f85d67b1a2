"""Strings from outside are fit to show, whatever is in them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.text import bounded, code, escape, harmless

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

# Hypothesis leaves surrogates out unless they are asked for.
anything = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"]))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<!channel>", "&lt;!channel&gt;"),
        ("<@U0ADA> & co", "&lt;@U0ADA&gt; &amp; co"),
        ("&lt;", "&amp;lt;"),
        ("plain *bold*", "plain *bold*"),
    ],
)
def test_what_makes_mentions_is_escaped(text: str, escaped: str) -> None:
    """The three characters that Slack documents are escaped, and nothing else is touched."""
    assert escaped == escape(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", ""), ("abc", "abc"), ("abcde", "abcde"), ("abcdef", "abcd…")],
)
def test_a_long_text_is_cut_with_an_ellipsis(text: str, shown: str) -> None:
    """What fits stays as it is; of what does not fit, the ellipsis tells."""
    assert shown == bounded(text, 5)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two lines"),
        ("a\r\n\tb", "a   b"),
        ("non\u00a0breaking", "non breaking"),
        ("line\u2028para\u2029next\x85x", "line para next x"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("nul\x00", "nul\ufffd"),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
        ("\u2066isolated\u2069", "\ufffdisolated\ufffd"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("\ud800", "\ufffd"),
        ("\ue000", "\ufffd"),
        ("żółw 模型 🐢", "żółw 模型 🐢"),
    ],
)
def test_what_cannot_be_seen_is_made_visible(text: str, shown: str) -> None:
    """Spaces of any kind become spaces, what draws nothing becomes a mark, and letters stay."""
    assert shown == harmless(text, 100)


@given(text=anything, limit=st.integers(1, 50))
def test_any_text_is_shown_in_one_harmless_line(text: str, limit: int) -> None:
    """Whatever comes, what is shown fits, is one line, and holds nothing that hides or turns text around."""
    shown = harmless(text, limit)

    assert len(shown) <= limit
    assert len(f"x{shown}x".splitlines()) == 1
    assert not {unicodedata.category(character) for character in shown} & UNSEEN


def test_only_what_is_shown_is_looked_at() -> None:
    """A text that is cut ends in the ellipsis also where it goes on with what cannot be seen."""
    assert harmless("abc" + "\x00" * 10_000, 4) == "abc…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sdxl", "`sdxl`"),
        ("<!channel>", "`&lt;!channel&gt;`"),
        ("` <@U0ADA> `", "`\u02cb &lt;@U0ADA&gt; \u02cb`"),
        ("", "` `"),
        ("x" * 200, f"`{'x' * 127}…`"),
    ],
)
def test_code_shows_text_as_it_is_and_no_more(text: str, shown: str) -> None:
    """Inline code is escaped, bounded, never empty, and cannot be left early."""
    assert shown == code(text)


@given(anything)
def test_nothing_gets_out_of_a_code_span(text: str) -> None:
    """The only backticks are the two around it, and nothing within can be a mention, a link or an entity."""
    shown = code(text, 40)

    assert shown.startswith("`")
    assert shown.endswith("`")
    assert shown.count("`") == 2
    assert not set("<>\n") & set(shown)
    assert len(shown) <= 2 + 40 * len("&amp;")
