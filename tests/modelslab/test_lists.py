"""A list of models is read while it arrives, whatever its shape, up to its limits."""

import json

import pytest

from bot.modelslab.lists import BYTES_LIMIT, HEAD_LIMIT, ListReader, ModelList

NO_IDS: list[object] = [None, 7, [], {}, {"model_id": None}, {"model_id": 7}, {"model_id": ["x"]}]
NO_IDS += ["", "two words", "<!channel>", "é", "x" * 129, "-x", "a\n", 'a"b']
NO_IDS += [{"model_id": text} for text in ("", "two words", "<!channel>")]


def read(answer: bytes, *, limit: int = 100, step: int = 65536) -> ListReader:
    """Feed an answer in chunks of so many bytes, until the reader has had enough."""
    reader = ListReader(limit)
    for at in range(0, len(answer), step):
        reader.feed(answer[at : at + step])
        if reader.ended:
            break
    return reader


@pytest.mark.parametrize("step", [1, 7, 65536])
@pytest.mark.parametrize(
    "answer",
    [
        ["b", "a", "b", "c/d:1"],
        [
            {"model_id": "b", "status": "model_ready"},
            {"model_id": "a", "x": '"model_id": "x"'},
            {"model_id": "c/d:1"},
        ],
        {"status": "success", "messege": "model list", "data": ["b", "a", "c/d:1"]},
        {"status": "success", "messege": "all of [them]", "data": [{"model_id": "b"}, "a", "c/d:1"], "count": 3},
        ["b", *NO_IDS, "a", "c/d:1"],
    ],
    ids=["IDs", "models", "data", "both", "with what is no ID"],
)
def test_ids_are_read_once_each_in_order_from_every_documented_shape(answer: object, step: int) -> None:
    """However the answer is cut into chunks, with or without a byte order mark, and slashes escaped as PHP does it."""
    plain = json.dumps(answer, indent=1, ensure_ascii=False).encode()
    for written in (plain, b"\xef\xbb\xbf\n" + plain.replace(b"/", rb"\/")):
        reader = read(written, step=step)

        assert (reader.found, reader.ended) == (True, True)
        assert reader.models == ModelList(["b", "a", "c/d:1"])


@pytest.mark.parametrize(
    ("answer", "listed"),
    [
        (b'[{"model_id": "a"}, {"model_id": "b"}, {"model_i', ["a", "b"]),
        (b'{"status": "success", "data": ["a", "b", "c', ["a", "b"]),
        (b'["a", "b"', ["a", "b"]),
        (b'["a", oops, "b"]', ["a"]),
        (b'["a", ' + b"[" * 50_000, ["a"]),
        (b"[", []),
    ],
)
def test_the_beginning_of_a_list_that_breaks_off_is_used(answer: bytes, listed: list[str]) -> None:
    """It counts as cut off."""
    assert read(answer).models == ModelList(listed, cut_off=True)


def test_no_more_ids_are_taken_than_the_limit() -> None:
    """A list of just as many is not cut off, nor is an empty one."""
    for complete in (b"[]", b'{"status": "success", "data": []}', b' [ {"model_id" : "a"} ] and more'):
        assert not read(complete).models.cut_off
    answer = json.dumps([f"m{number}" for number in range(10)]).encode()

    assert read(answer, limit=10).models == ModelList([f"m{number}" for number in range(10)])
    assert read(answer, limit=9).models == ModelList([f"m{number}" for number in range(9)], cut_off=True)
    assert read(answer, limit=9).ended


def test_no_more_bytes_are_read_than_the_limit() -> None:
    """Whatever they are."""
    reader = ListReader(100)
    item = json.dumps("x" * (HEAD_LIMIT - 8)).encode() + b","
    fed = 1
    reader.feed(b"[")
    while not reader.ended:
        reader.feed(item)
        fed += len(item)

    assert BYTES_LIMIT <= fed < BYTES_LIMIT + len(item)
    assert reader.models == ModelList([], cut_off=True)


@pytest.mark.parametrize("beginning", [b'["a", "', b'{"message": "', b"<html>"], ids=["item", "field", "page"])
def test_an_item_that_never_ends_is_given_up(beginning: bytes) -> None:
    """It is not kept in memory, nor is another answer that is too long."""
    reader = read(beginning + b"x" * 10 * HEAD_LIMIT, step=1000)

    assert reader.ended
    assert len(reader.head) <= HEAD_LIMIT
