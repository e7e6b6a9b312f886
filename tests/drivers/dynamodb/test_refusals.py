"""Whatever goes wrong is a DynamoDBError: arguments that mean nothing, and answers that make no sense."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import Maker
from .faults import JSON, Exchange, FaultProxy, reply_of
from .sources import failure_of

Call = Callable[[DynamoDB], Awaitable[object]]


def expiring(expires_at: Any) -> Call:
    return lambda db: db.set_expiring("k", "v", expires_at)


def of_a_page(limit: Any) -> Call:
    return lambda db: db.scan("", None, limit)


REFUSED: dict[str, Call] = {
    **{f"expires at {expires_at}": expiring(expires_at) for expires_at in (math.nan, None, "1", True, 60)},
    "expires before all time": lambda db: db.set_expiring("k", "v", -math.inf),
    "expires before all time, exactly": lambda db: db.set_expiring("k", "v", -(10**5000)),
    "limit far below": lambda db: db.scan("", None, -(10**5000)),
    "many expire at NaN": lambda db: db.set_many({"k": "v"}, math.nan),
    "many expire at 60": lambda db: db.set_many({"k": "v"}, 60),
    "expires if, at 60": lambda db: db.set_if("k", "v", None, 60),
    "expires if, at NaN": lambda db: db.set_if("k", "v", None, math.nan),
    "set if version is an int": lambda db: db.set_if("k", "v", 1),  # type: ignore[arg-type] # the subject
    "set if version is bytes": lambda db: db.set_if("k", "v", b"v"),  # type: ignore[arg-type] # the subject
    "delete if version is None": lambda db: db.delete_if("k", None),  # type: ignore[arg-type] # the subject
    "delete if version is an int": lambda db: db.delete_if("k", 1),  # type: ignore[arg-type] # the subject
    **{f"limit {limit}": of_a_page(limit) for limit in (None, 0, -1, 1.5, True, "1")},
    "key is a list": lambda db: db.increment([], 1),  # type: ignore[arg-type] # the subject
    "cursor is an int": lambda db: db.scan("", 1, 1),  # type: ignore[arg-type] # the subject
    "cursor is bytes": lambda db: db.scan("", b"W10=", 1),  # type: ignore[arg-type] # the subject
    "cursor is deep": lambda db: db.scan("", "W1tb" * 50_000, 1),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=list(REFUSED))
async def test_an_argument_that_means_nothing_is_refused(db: DynamoDB, call: Call) -> None:
    """It is an invalid value, named in words, and nothing is written."""
    await db.set("k", "old")
    error = await failure_of(call(db))
    assert (error.code in {"invalid_value", "invalid_key"}, error.outcome) == (True, "not_applied")
    assert await db.get("k") == "old"


@pytest.mark.parametrize("keys", ["us", b"us"])
async def test_one_text_is_not_several_keys(db: DynamoDB, keys: Any) -> None:
    """A str in the place of a list is a TypeError, and neither of its characters is touched."""
    await db.set_many({"u": "1", "s": "2"})
    for call in (db.delete_many(keys), db.get_many(keys)):
        with pytest.raises(TypeError, match=f"not one {type(keys).__name__}"):
            await call
    for items in (keys, [keys], [("u", "3")], None):
        with pytest.raises(TypeError, match=f"not {type(items).__name__}"):
            await db.set_many(items)  # type: ignore[arg-type] # the subject
    assert await db.get_many(["u", "s"]) == {"u": "1", "s": "2"}


KEY = {"pk": {"S": "k"}}
ITEM = {**KEY, "value": {"S": "v"}, "kvik_w": {"S": "w"}}
SENSELESS: dict[str, list[JSON]] = {
    "get": [{"Item": 1}, {"Item": []}, {"Item": "x"}, {"Item": {"value": 1}}, {"Item": {**ITEM, "value": None}}],
    "get_versioned": [{"Item": [ITEM]}, {"Item": {**ITEM, "kvik_w": "w"}}],
    "increment": [{"Item": 1}, {"Item": {"value": "1"}}],
    "scan": [
        *({}, {"Items": 1}, {"Items": None}, {"Items": [1]}, {"Items": [{}]}, {"Items": [{"pk": "k"}]}),
        *({"Items": [{"pk": {"S": 1}}]}, {"Items": {}}, {"Items": [], "LastEvaluatedKey": 1}),
        *({"Items": [], "LastEvaluatedKey": {"pk": {"N": "1"}}}, {"Items": [], "LastEvaluatedKey": {}}),
    ],
    "get_many": [
        *({}, {"Responses": 1}, {"Responses": {"t": 1}}, {"Responses": {"t": [{}]}}, {"Responses": []}),
        *({"Responses": {}, "UnprocessedKeys": 1}, {"Responses": {}, "UnprocessedKeys": {"t": {}}}),
        {"Responses": {}, "UnprocessedKeys": {"t": {"Keys": [{"pk": {"S": "another"}}]}}},
    ],
    "set_many": [
        *({"UnprocessedItems": 1}, {"UnprocessedItems": {"t": 1}}, {"UnprocessedItems": {"t": [{}]}}),
        *({"UnprocessedItems": {"t": [1]}}, {"UnprocessedItems": {"t": [{"PutRequest": {"Item": 1}}]}}),
        {"UnprocessedItems": {"t": [{"PutRequest": {"Item": {**ITEM, "pk": {"S": "another"}}}}]}},
        {"UnprocessedItems": {"t": [{"DeleteRequest": 1}]}},
    ],
}
CALLS: dict[str, Call] = {
    "get": lambda db: db.get("k"),
    "get_versioned": lambda db: db.get_versioned("k"),
    "increment": lambda db: db.increment("k", 1),
    "scan": lambda db: db.scan("", None, 10),
    "get_many": lambda db: db.get_many(["k", "l"]),
    "set_many": lambda db: db.set_many({"k": "1", "l": "2"}),
}


@pytest.mark.parametrize("verb", SENSELESS)
async def test_an_answer_of_no_sense_is_a_broken_one(
    behind_proxy: Maker, proxy: FaultProxy, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sound JSON of another shape than DynamoDB's is asked for again, and then an error, never a miss."""
    monkeypatch.setattr("kvik_dynamodb._retry._BASE", 0.0)
    async with behind_proxy() as db:
        for reply in SENSELESS[verb]:

            async def answer(_: Exchange, reply: JSON = reply) -> bytes:
                return reply_of(reply)

            proxy.otherwise = answer
            proxy.requests.clear()
            error = await failure_of(CALLS[verb](db))
            writes = verb == "set_many"
            assert (error.code, error.cause, error.outcome, len(proxy.requests)) == (
                ("unavailable", "network", "unknown" if writes else "not_applied", 4)
            ), reply


@pytest.mark.parametrize(
    "reply",
    [
        {"__type": 1, "message": 2},
        {"__type": ["x"], "message": None},
        {"__type": "x#ConditionalCheckFailedException", "Item": 1},
        {"__type": "x#ConditionalCheckFailedException", "Item": {"pk": 1}},
        {"__type": "x#ThrottlingException", "ThrottlingReasons": 1},
        {"__type": "x#ThrottlingException", "ThrottlingReasons": [{"reason": []}]},
        {"__type": "x#ValidationException", "message": None},
    ],
)
async def test_a_refusal_of_no_sense_is_an_error_too(behind_proxy: Maker, proxy: FaultProxy, reply: JSON) -> None:
    """Whatever an error answer holds."""
    async with behind_proxy() as db:

        async def answer(_: Exchange) -> bytes:
            return reply_of(reply, 400)

        proxy.otherwise = answer
        db.use_deadline(lambda: 0.2)
        for call in (db.get("k"), db.set_if("k", "v", "w"), db.delete_if("k", "w")):
            assert isinstance(await failure_of(call), DynamoDBError)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"{", b"", b'{"Item":' * 5000, b"\xff{}"])
async def test_a_body_that_is_not_an_object_is_a_broken_one(
    behind_proxy: Maker, proxy: FaultProxy, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other JSON, nested too deeply or cut, is not taken for an empty answer."""
    monkeypatch.setattr("kvik_dynamodb._retry._BASE", 0.0)
    async with behind_proxy() as db:

        async def answer(_: Exchange) -> bytes:
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

        proxy.otherwise = answer
        for call in (db.get("k"), db.get_many(["k", "l"]), db.scan("", None, 10)):
            error = await failure_of(call)
            assert (error.code, error.cause) == ("unavailable", "network")


@pytest.mark.parametrize("number", ["x", "", "0x1"])
async def test_a_number_that_is_not_one_is_corrupt(behind_proxy: Maker, proxy: FaultProxy, number: str) -> None:
    """An expiry that cannot be read is neither past nor to come."""
    async with behind_proxy() as db:

        async def answer(_: Exchange) -> bytes:
            return reply_of({"Item": {**ITEM, "expires_at": {"N": number}}})

        proxy.otherwise = answer
        for call in (db.get("k"), db.get_versioned("k")):
            assert (await failure_of(call)).code == "corrupt"
