"""The exceptions make one tree, as it is drawn; a reason is a word for the audit, the database and metrics."""

import re

import pytest

from bot import errors
from bot.errors import Failure, Refusal, ReloadModelError


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every exception of the module is in the drawing at its top, below its base, and the other way round."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for indent, name in re.findall(r"^([│├└─ ]*)([A-Z]\w+)", (errors.__doc__ or "").split("\n\n")[1], re.MULTILINE):
        depth = len(indent) // 4
        above[depth:] = [name]
        drawn[name] = above[depth - 1] if depth else "Exception"
    tree = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ReloadModelError) and value.__base__
    }

    assert tree == drawn


@pytest.mark.parametrize("reasons", [Refusal, Failure])
def test_a_reason_is_a_word_of_its_own(reasons: type[Refusal] | type[Failure]) -> None:
    """Lower case, and different from all others."""
    assert all(re.fullmatch(r"[a-z_]+", reason.value) for reason in reasons)
    assert len({reason.value for reason in reasons}) == len(reasons.__members__)
