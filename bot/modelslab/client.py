"""The client of ModelsLab's Reload Model API. Knows nothing of who asked, or of when to ask again.

What is known of the service, and what must not be assumed, is in its documentation:
https://docs.modelslab.com/image-generation/community-models/reload-model and https://docs.modelslab.com/error-codes
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus

import aiohttp

from bot.core.command import MODEL_ID
from bot.core.retry import retry_after
from bot.core.text import SAID_LIMIT, harmless
from bot.errors import Failure, ModelsLabPermanentError, ModelsLabRetryableError

PATH = "/api/v6/images/model_reload"
WALLET_PATH = "/api/wallet_balance"
LIST_PATH = "/api/v4/dreambooth/model_list"

ATTEMPT_SECONDS = 15.0
"""One attempt, from the first packet to the last byte read."""

CONNECT_SECONDS = 5.0
"""To make a connection; what fails by then was never asked."""

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are read."""

LIST_LIMIT = 4 * 1024 * 1024
MODELS_LIMIT = 20_000
"""Bytes of the account's list that are read, and models that are taken from it."""

_AT_A_TIME = 200

RATE_LIMIT_WAIT = 30.0
"""Seconds to wait where a rate limit names none: the figure in ModelsLab's own messages."""

_ACCEPTED = ("success", "processing")

# Parts of ModelsLab's documented messages, lower case. They only choose between sentences, and tell the rate
# limit that comes with a status of 200; nothing else is decided by text.
_HINTS: Mapping[str, Failure] = {
    "rate limit": Failure.RATE_LIMIT,
    "queued requests": Failure.RATE_LIMIT,
    "invalid api key": Failure.KEY,
    "api key required": Failure.KEY,
    "insufficient credits": Failure.CREDITS,
    "premium subscription": Failure.PLAN,
    "model not found": Failure.UNKNOWN_MODEL,
    "model id not found": Failure.UNKNOWN_MODEL,
}

_BY_STATUS: Mapping[int, Failure] = {
    HTTPStatus.UNAUTHORIZED: Failure.KEY,
    HTTPStatus.PAYMENT_REQUIRED: Failure.CREDITS,
    HTTPStatus.FORBIDDEN: Failure.PLAN,
}

# What stands before an item of a list.
_ITEM = re.compile(r"[\s,]*(?=[^\s,\]])")

# The request may have been carried out behind a gateway that gave up on it.
_OUTCOME_UNKNOWN = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)


class ModelsLab:
    """Asks for reloads, one POST each."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, redact: Callable[[str], str]) -> None:
        """url is the service's base without a trailing slash; redact takes secrets out of what the service says."""
        self._session = session
        self._url = url
        self._host = url.partition("://")[2].partition("/")[0]
        self._key = key
        self._redact = redact

    async def reload(self, model_id: str) -> None:
        """Return once ModelsLab has accepted the reload. Raises ModelsLabError, which says why not."""
        await self._ask(PATH, {"model_id": model_id})

    async def balance(self) -> str:
        """Ask for what the account holds, which tells a bad key and changes nothing. Raises as reload does."""
        data = (await self._ask(WALLET_PATH, {})).get("data")
        told = [data.get("balance"), data.get("currency")] if isinstance(data, dict) else []
        return harmless(self._redact(_flatten(told)), SAID_LIMIT)

    async def models(self) -> Sequence[str]:
        """Ask for the ids of the account's models, as many as fit the limits. Raises as reload does.

        What their status says is undocumented, so nobody is told of it.
        """
        response, body = await self._post(LIST_PATH, {}, LIST_LIMIT)
        if not _is_success(response.status) or not body.lstrip().startswith(b"["):
            self._judged(response, _fields(body[:ANSWER_LIMIT]))
            raise ModelsLabPermanentError(Failure.NO_SENSE, "no list")
        return await _ids(body.decode("utf-8", "replace"))

    async def _ask(self, path: str, fields: Mapping[str, str]) -> Mapping[str, object]:
        """The fields of an answer that accepts. Raises ModelsLabError for any other."""
        response, body = await self._post(path, fields, ANSWER_LIMIT)
        return self._judged(response, _fields(body))

    async def _post(self, path: str, fields: Mapping[str, str], limit: int) -> tuple[aiohttp.ClientResponse, bytes]:
        """Ask once, and read at most limit bytes of the answer. Raises ModelsLabRetryableError where none comes."""
        try:
            async with self._session.post(
                self._url + path,
                json={"key": self._key, **fields},
                headers={"Accept-Encoding": "identity"},  # so that what is read is what is counted
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS, connect=CONNECT_SECONDS),
                allow_redirects=False,
            ) as response:
                return response, await _read(response, limit)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ModelsLabRetryableError(Failure.NO_ANSWER, _kind(error), host=self._host) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ModelsLabRetryableError(Failure.NO_ANSWER, _kind(error), unknown=True, host=self._host) from None

    def _judged(self, response: aiohttp.ClientResponse, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return an acceptance, raise for all else: the body decides whatever the HTTP status says."""
        status = str(fields.get("status", "")).lower()
        if _is_success(response.status) and status in _ACCEPTED:
            return fields
        raw = _flatten([fields.get("message") or fields.get("messege"), fields.get("tip"), fields.get("tips")])
        said = harmless(self._redact(raw[: ANSWER_LIMIT // 8]), SAID_LIMIT)
        failure = _failure(response.status, raw.lower(), sense=bool(status))
        unknown = response.status in _OUTCOME_UNKNOWN or (failure is Failure.NO_SENSE and _is_success(response.status))
        if failure is Failure.RATE_LIMIT:
            raise ModelsLabRetryableError(failure, said, wait=_wait(fields, response.headers))
        if failure is Failure.DOWN:
            raise ModelsLabRetryableError(failure, said or f"HTTP {response.status}", unknown=unknown)
        raise ModelsLabPermanentError(failure, said or f"HTTP {response.status}", unknown=unknown)


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """At most limit bytes of the body: leaving the rest unread closes the connection."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body[:limit])


async def _ids(text: str) -> Sequence[str]:
    """The ids in a list of models, which may be cut off anywhere; read in portions, so that nothing else waits long."""
    found: dict[str, None] = {}
    for count, item in enumerate(_items(text)):
        model_id = item.get("model_id") if isinstance(item, dict) else None
        if isinstance(model_id, str) and MODEL_ID.fullmatch(model_id):
            found[model_id] = None
        if count % _AT_A_TIME == 0:
            await asyncio.sleep(0)
        if len(found) == MODELS_LIMIT:
            break
    return list(found)


def _items(text: str) -> Iterator[object]:
    """The items of a JSON list, one after another, up to where it is whole."""
    decoder, position = json.JSONDecoder(), text.index("[") + 1
    while (begin := _ITEM.match(text, position)) is not None:
        try:
            item, position = decoder.raw_decode(text, begin.end())
        except (ValueError, RecursionError):
            return
        yield item


def _fields(body: bytes) -> Mapping[str, object]:
    """The JSON object in the body, or an empty one for anything else."""
    try:
        value = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _flatten(value: object) -> str:
    """The texts in a string, a list, or an object of lists, in order, on one line."""
    texts: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(reversed(item.values()))
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif item is not None:
            texts.append(str(item))
    return " ".join(texts)


def _failure(status: int, text: str, *, sense: bool) -> Failure:
    """The class of a refusal: by HTTP status where that is telling, else by what the text hints at.

    sense is whether the answer has the shape of ModelsLab's own: a proxy or a firewall on the way refuses with a 403,
    too, and that says nothing of the account. Nor does it matter who finds that there are too many requests.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return Failure.DOWN
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Failure.RATE_LIMIT
    hinted = next((failure for hint, failure in _HINTS.items() if hint in text), None)
    if not sense:
        return hinted or Failure.NO_SENSE
    return _BY_STATUS.get(status) or hinted or Failure.REFUSED


def _wait(fields: Mapping[str, object], headers: Mapping[str, str]) -> float:
    """Seconds to wait: the body's retry_after, else the Retry-After header, else RATE_LIMIT_WAIT."""
    for value in (fields.get("retry_after"), headers.get("Retry-After")):
        if (seconds := retry_after(value)) is not None:
            return seconds
    return RATE_LIMIT_WAIT


def _kind(error: Exception) -> str:
    """What broke, in a word or two: an exception's own text may hold addresses and more."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return "no answer in time" if isinstance(error, TimeoutError) else "the connection broke"
