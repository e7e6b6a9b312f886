"""What kvik_sqlite exports."""

import kvik_sqlite


def test_the_public_names_are_these() -> None:
    """The package exports the driver, its error and its limits, and nothing else."""
    assert sorted(kvik_sqlite.__all__) == ["Limits", "SQLite", "SQLiteError"]
