"""Names where several searches of one name meet."""

from collections.abc import Iterator
from itertools import count


def numbered(name: str) -> Iterator[str]:
    """`name`, `name-2`, `name-3`, …"""
    yield name
    for number in count(2):
        yield f"{name}-{number}"
