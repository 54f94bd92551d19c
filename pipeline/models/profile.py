"""The training profile: how each feature and the predictions were distributed, for drift to be measured against.

It is stored as `profile.json` with a version. `pipeline.models.histograms` makes it and counts
other rows in its bins; readers need this module alone. The entry point is `Profile`.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.handoff import Facts

PROFILE_FILE = "profile.json"


class Numbers(Facts):
    """A histogram of a number."""

    kind: Literal["number"] = "number"
    edges: list[float]
    """Where one bin ends and the next begins, ascending. A bin includes its upper end; the outer bins are open."""
    counts: list[int]
    """One more than edges; none is 0 on the rows that the bins were chosen on."""
    missing: int


class Categories(Facts):
    """A histogram of a category."""

    kind: Literal["category"] = "category"
    counts: dict[str, int]
    """By category, the most frequent first on the rows that the bins were chosen on."""
    other: int
    """Rows of all categories that are not listed."""
    missing: int


Histogram = Annotated[Numbers | Categories, Field(discriminator="kind")]


class Profile(Facts):
    """The content of `profile.json`."""

    rows: int
    """Of the train weeks."""
    features: dict[str, Histogram]
    """On the train weeks."""
    satisfaction: Numbers
    """On the test weeks, because a model is too confident on rows it was fitted on."""
