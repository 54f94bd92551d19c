"""Larkfield & Moss, a fictional company: its products, its customers, and what goes wrong.

The constants here are all the free choices in the feed; the other modules only draw from them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 24 * HOUR_SECONDS
WEEK_SECONDS: Final = 7 * DAY_SECONDS


@dataclass(frozen=True)
class Product:
    """One product: a box by post every four weeks, and an app with lessons for it."""

    product_id: str
    name: str
    category: str
    price_cents: int
    usual_minutes: float
    """Median weekly minutes in the app."""
    season: float
    """Change of its use over the year: positive for more use in winter, negative for more in summer."""


PRODUCTS: Final = (
    Product("coffee-club", "Coffee Club", "food", 2490, 45, 0.10),
    Product("chef-box", "Chef's Box", "food", 4900, 140, 0.05),
    Product("garden-box", "Garden Box", "hobby", 1950, 70, -0.45),
    Product("craft-kit", "Craft Kit", "hobby", 2900, 110, 0.30),
    Product("yoga-kit", "Yoga Kit", "wellbeing", 2200, 160, 0.15),
    Product("sleep-lab", "Sleep Lab", "wellbeing", 3450, 90, 0.20),
)
CATEGORIES: Final = ("food", "hobby", "wellbeing")
CATEGORY_OF_PRODUCT: Final = np.array([CATEGORIES.index(product.category) for product in PRODUCTS])
PRODUCT_SHARES: Final = (0.24, 0.20, 0.14, 0.15, 0.15, 0.12)
PRODUCTS_HELD_SHARES: Final = (0.55, 0.30, 0.15)
"""Fractions of the customers with one, two and three products."""

PLANS: Final = ("basic", "plus", "premium")
PLAN_SHARES: Final = (0.45, 0.35, 0.20)
PLAN_PRICE_PERCENT: Final = (100, 140, 210)

SEGMENTS: Final = ("household", "family", "student", "office")
SEGMENT_SHARES: Final = (0.45, 0.30, 0.15, 0.10)
REGIONS: Final = ("north", "south", "east", "west", None)
"""None is for customers whose region is not recorded: a missing category."""
REGION_SHARES: Final = (0.26, 0.27, 0.21, 0.23, 0.03)
CARRIERS: Final = ("Harbour Post", "Parcelo", "Swiftline")
CARRIER_SHARES: Final = (0.40, 0.35, 0.25)
TOPICS: Final = ("delivery", "app", "billing", "other", None)

FIRST_NAMES: Final = (
    *("Ada", "Ben", "Clara", "Dario", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Liam", "Mina", "Nils"),
    *("Olga", "Pablo", "Quinn", "Rosa", "Sami", "Tessa", "Uma", "Viktor", "Wanda", "Xenia", "Yusuf", "Zoe"),
)
LAST_NAMES: Final = (
    *("Abbott", "Berg", "Costa", "Dubois", "Eriksen", "Fischer", "Gallo", "Hansen", "Ivanova", "Jansen", "Kowalski"),
    *("Lind", "Moreau", "Novak", "Okafor", "Petit", "Quist", "Rossi", "Silva", "Tanaka", "Usman", "Vogel", "Weber"),
)

EARLY_CUSTOMERS_FRACTION: Final = 0.8
"""Fraction of customers from before the first week; the others join over `JOINING_WEEKS` weeks."""
JOINING_WEEKS: Final = 100
CANCELLED_PER_WEEK_FRACTION: Final = 0.004
ANSWERED_FRACTION: Final = 0.1
"""Fraction of subjects who answer the week's survey."""
LATEST_ANSWER_WEEKS: Final = 4

CRISIS_CARRIER: Final = CARRIERS.index("Swiftline")
CRISIS_WEEKS: Final = range(14, 18)
"""The drift episode: a strike at one carrier, in these weeks counted from the first."""
LATE_FRACTION: Final = 0.12
CRISIS_LATE_FRACTION: Final = 0.75

TORN_FRACTION: Final = 1 / 5_000
"""Flaws of the feed, as fractions of a file's rows: a line that is cut off, then written again completely."""
MISTYPED_FRACTION: Final = 1 / 10_000
"""A line with a letter in a number, then written again correctly."""
DUPLICATE_FRACTION: Final = 1 / 250
IMPOSSIBLE_FRACTION: Final = 1 / 5_000
"""Weekly minutes that mean "unknown" in an old export, or that would be 400 hours a day."""
IMPOSSIBLE_MINUTES: Final = (-9_999, 400 * 60 * 7)
