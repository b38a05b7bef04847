"""What a plan shows of two texts."""

from kubeproof.node.texts import NAMED, SHOWN, difference, named


def test_only_lines_that_change_are_shown() -> None:
    assert difference("a\nb\nc\n", "a\nx\nc\n") == ["- b", "+ x"]
    assert difference("a\n", "a\n") == []
    assert difference("", "a\n") == ["+ a"]


def test_a_line_that_begins_with_a_sign_is_not_mistaken() -> None:
    assert difference("--- x\n", "+++ y\n") == ["- --- x", "+ +++ y"]


def test_passwords_in_urls_are_not_shown() -> None:
    (gone, come) = difference('"http-proxy": "http://me:secret@proxy:1"\n', '"http-proxy": "https://s3cret@proxy:1"\n')
    assert gone == '- "http-proxy": "http://…@proxy:1"'
    assert come == '+ "http-proxy": "https://…@proxy:1"'


def test_a_long_difference_is_cut() -> None:
    lines = difference("", "".join(f"{number}\n" for number in range(30)))
    assert len(lines) == SHOWN
    assert lines[-1] == f"… and {30 - SHOWN + 1} lines more"


def test_many_things_are_counted() -> None:
    assert named("lacks", "ab") == "lacks a, b"
    assert named("lacks", map(str, range(NAMED + 2))).endswith(", 5 and 2 more")
