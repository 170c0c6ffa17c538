"""What devices run, need and download, and what libraries offer them."""

from scenarios.records.event import Event


class Need(Event, frozen=True):
    """The device noticed that another model fits its situation now."""

    model: str


class Inference(Event, frozen=True):
    model: str
    variant: str
    need: str  # the model that fits what the image shows
    correct: bool


class Requested(Event, frozen=True):
    """A device asked its edge library for a model."""

    download: str
    model: str
    library: str
    deadline_ns: int


class Chosen(Event, frozen=True):
    """A library chose a variant: the reason says what it had to fit."""

    download: str
    variant: str
    missing_bytes: int
    session: str  # "" without one
    reason: str


class FirstByte(Event, frozen=True):
    download: str


class BlockRejected(Event, frozen=True):
    """A block was missing, or its bytes were not those that its name promises."""

    download: str
    digest: str
    source: str
    reason: str


class Interrupted(Event, frozen=True):
    """A library did not give a device what it asked for, or broke off: what it said, and the bytes that had come from it."""

    download: str
    library: str
    bytes: int
    reason: str


class Resumed(Event, frozen=True):
    """A download goes on at a library with what came before: so many bytes, the last `offset` of them of an object in the air."""

    download: str
    library: str
    bytes: int
    object: str  # "" when none was in the air
    offset: int


class Cut(Event, frozen=True):
    """A download ends with a smaller variant than was planned, because the rest would come too late, or not at all."""

    download: str
    planned: str
    kept: str
    planned_bytes: int
    sent_bytes: int
    reason: str


class Runnable(Event, frozen=True):
    """A variant that is part of what is still arriving is loaded, and better than what the device runs."""

    download: str
    model: str
    variant: str
    bytes: int  # that had arrived when it was complete
    latency_ns: int
    on_time: bool
    accuracy: float = 0.0  # the variant's, as it was measured when it was published


class Completed(Event, frozen=True):
    """All blocks of the variant are at the device, each verified, and loaded."""

    download: str
    model: str
    variant: str
    bytes: int
    latency_ns: int
    on_time: bool
    accuracy: float = 0.0  # the variant's, as it was measured when it was published


class Failed(Event, frozen=True):
    download: str
    model: str
    reason: str


class Swapped(Event, frozen=True):
    """The device runs the new model; both accuracies are measured on the same recent images of its situation."""

    download: str
    model: str
    variant: str
    accuracy_before: float
    accuracy_after: float


class RolledBack(Event, frozen=True):
    """The device runs its old model again: of `images` recent ones the new one had `right_after` right, the old `right_before`."""

    download: str
    model: str
    variant: str
    old_model: str
    old_variant: str
    images: int
    right_before: int
    right_after: int
