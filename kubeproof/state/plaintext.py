"""Parsers for what commands print in lines and words."""


def line(text: str) -> str:
    """The first line that is not empty."""
    return next((found.strip() for found in text.splitlines() if found.strip()), "")


def lines(text: str) -> tuple[str, ...]:
    """Lines that are not empty, each once."""
    return tuple(dict.fromkeys(found.rstrip() for found in text.splitlines() if found.strip()))


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def number(text: str) -> int:
    """Raises ValueError."""
    return int(line(text))


def is_there(text: str) -> bool:
    return bool(text.strip())
