"""A module that cannot be imported."""

Best = undefined  # noqa: F821
