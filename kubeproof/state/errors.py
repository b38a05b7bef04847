"""What a parser raises."""


class ParseError(ValueError):
    """Text that is not what its source should print: names the source, the place in it, and what is wrong there."""

    def __init__(self, source: str, where: str, wrong: str) -> None:
        super().__init__(f"{source}: {where}: {wrong}")
        self.source = source
        self.where = where
        self.wrong = wrong
