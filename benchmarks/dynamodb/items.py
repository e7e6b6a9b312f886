"""The table that everybody reads and writes: its name, its keys, its one value.

The standard library is enough for this module, since it is imported in the peers' environments as well.
"""

TABLE = "bench"
REGION = "eu-west-1"
KEYS = 1024
"""Keys are taken in turn, so that no two operations in flight have the same: no client may answer both at once."""
VALUE = '{"greeting":"hello","count":7}'

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}  # Dynoxide takes any
CONNECTIONS = 32
"""How many connections, and threads where there are threads, each client may have: as many as are in flight."""


def key(number: int) -> str:
    """Give one of the keys, for any number."""
    return f"key-{number % KEYS}"
