"""Policies that are wrong, each in its way."""


class Demanding:
    def __init__(self, much: int) -> None:
        self.much = much


class Silent:
    pass
