"""What every server is asked and answers: the same types and values for everybody.

The standard library is enough for this module, since it is imported in the peers' environment as well.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

GREETING: dict[str, object] = {"greeting": "hello", "count": 7}
KEYS = 1024
"""How many keys the stores hold; they are read in turn, so that no two requests in flight ask for the same."""


@dataclass
class Address:
    """Be the object within the object."""

    street: str
    city: str
    country: str


@dataclass
class Person:
    """Be the typed value that a body is bound to."""

    name: str
    age: int
    email: str
    address: Address
    tags: list[str]
    about: str


ADA = Person(
    name="Ada Lovelace",
    age=36,
    email="ada@example.com",
    address=Address("12 St James's Square", "London", "United Kingdom"),
    tags=["mathematics", "engines", "poetry", "music"],
    about="The Analytical Engine weaves algebraic patterns just as the Jacquard loom weaves flowers and leaves. "
    * 8,
)
ADA_JSON = json.dumps(asdict(ADA)).encode()


CATALOGUE = [
    {"id": number, "name": f"item {number}", "price": number / 4, "tags": ["a", "b"]} for number in range(400)
]


def digest() -> dict[str, object]:
    """Do what takes a millisecond or so: make JSON of the catalogue, and a hash of that."""
    text = json.dumps(CATALOGUE).encode()
    return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}


def summary(person: Person) -> dict[str, object]:
    """Give the answer to a POST: little, but from every depth of the value."""
    return {"name": person.name, "city": person.address.city, "tags": len(person.tags)}
