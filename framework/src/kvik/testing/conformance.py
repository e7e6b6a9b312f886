"""The conformance kit, with assertions that tell what was compared, as in a test of one's own."""

try:
    import hypothesis  # noqa: F401 - what the kit needs besides, missed here rather than deep inside
    import pytest
except ImportError as error:
    raise ImportError('kvik.testing needs pytest and hypothesis: pip install "kvik[testing]"') from error

pytest.register_assert_rewrite("kvik.testing._conformance")

from ._conformance import KVStoreConformance  # noqa: E402 - pytest must know of it first

__all__ = ["KVStoreConformance"]
