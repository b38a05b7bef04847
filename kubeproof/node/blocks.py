"""A marked block of lines in a file that belongs to others. Pure."""

BEGIN = "# BEGIN kubeproof: nodes of the cluster"
END = "# END kubeproof"


def without_block(text: str) -> str:
    before, begin, rest = text.partition(f"{BEGIN}\n")
    if not begin:
        return text
    return before + rest.partition(f"{END}\n")[2]


def with_block(text: str, lines: str) -> str:
    """The text with the block at its end, in place of an earlier one."""
    others = without_block(text)
    if others and not others.endswith("\n"):
        others += "\n"
    return f"{others}{BEGIN}\n{lines}{END}\n"
