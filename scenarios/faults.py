"""What may fail in a run, and the links that are there for it, as a scenario writes them."""

from typing import Literal

from pydantic import Field, model_validator

from scenarios.fields import Name, Part, PositiveTime
from scenarios.links import LinkSpec

Kind = Literal["link", "switch", "controller"]


class CrossLink(LinkSpec):
    """A link between two switches beside those of the tree. `up` is what its first end sends."""

    first: str = Field(alias="from")
    second: str = Field(alias="to")
    own_name: Name | None = Field(None, alias="name")

    @property
    def name(self) -> str:
        return self.own_name or f"{self.first}-{self.second}"


class Fault(Part):
    """From `at` on a link, a switch or the controller is down: `for` so long, or for the rest of the run."""

    link: str | None = None
    switch: str | None = None
    controller: Literal["down"] | None = None
    at: PositiveTime
    lasts: PositiveTime | None = Field(None, alias="for")

    @model_validator(mode="after")
    def _of_one_thing(self) -> "Fault":
        if [self.link, self.switch, self.controller].count(None) != 2:
            raise ValueError("what fails? write one of link: NAME, switch: NAME, controller: down")
        return self

    @property
    def kind(self) -> Kind:
        return "link" if self.link else "switch" if self.switch else "controller"

    @property
    def name(self) -> str:
        return self.link or self.switch or "controller"

    @property
    def end(self) -> int | None:
        """When it is up again, ns."""
        return None if self.lasts is None else self.at + self.lasts
