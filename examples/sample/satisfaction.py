"""The known function: how satisfied a subscription is, from its plain features.

It is made of thresholds and interactions that a person would find plausible and that a straight line cannot follow: the
same late box matters to a premium customer and hardly to a basic one, a newcomer may use the app less without meaning
harm, a quickly mended mishap leaves people happier than none. No hidden trait enters, so a model that learns the
function reaches the best AUC there is. The entry point is `true_probability`.
"""

import numpy as np

from examples.sample.company import CATEGORIES, PLANS, Floats

_FOOD, _HOBBY, _WELLBEING = (float(CATEGORIES.index(name)) for name in ("food", "hobby", "wellbeing"))
_BASIC, _PLUS, _PREMIUM = (float(PLANS.index(name)) for name in ("basic", "plus", "premium"))


def true_probability(features: dict[str, Floats]) -> Floats:
    """Return the probability of an answer of 4 or 5.

    Parameters
    ----------
    features
        Plain features by name, as `History.features` gives them, all of one length. NaN fails every comparison.
    """
    score = 0.3 + _use(features) + _crashes(features) + _delivery(features) + _support(features) + _contract(features)
    return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)


def _use(features: dict[str, Floats]) -> Floats:
    # Too little use is bad, too much is not the best; a change means one thing early and another after half a year.
    minutes = features["minutes_this_week"] + features["minutes_three_weeks_before"]
    amount = np.select([minutes < 60, minutes < 200, minutes < 600, minutes < 1200], [-1.6, -0.1, 1.1, 0.4], -0.6)
    change = features["minutes_change_percent"]
    is_old = features["tenure_weeks"] >= 26
    fall = np.where(change < -35, np.where(is_old, -1.3, 0.5), 0.0)
    rise = np.where(change > 45, np.where(is_old, 0.7, -0.5), 0.0)
    return amount + fall + rise


def _crashes(features: dict[str, Floats]) -> Floats:
    # One crash is forgiven; more disturb lessons that are meant to calm.
    category = features["product_category"]
    annoyance = np.select([category == _WELLBEING, category == _HOBBY], [-1.3, 0.0], -0.4)
    return np.where(features["crashes"] >= 2, annoyance, 0.0)


def _delivery(features: dict[str, Floats]) -> Floats:
    # Late hurts from the third day on, and more in the dear plans; damage hurts where the box is food.
    plan = features["plan"]
    lateness = np.select([plan == _PREMIUM, plan == _PLUS], [-2.2, -1.0], -0.3)
    damage = np.where(features["product_category"] == _FOOD, -1.5, -0.3)
    return np.where(features["worst_days_late"] >= 3, lateness, 0.0) + np.where(features["had_damage"] > 0, damage, 0.0)


def _support(features: dict[str, Floats]) -> Floats:
    # An answer within a day leaves people happier than no ticket at all; an open one on top of a late box is too much.
    hours = features["slowest_answer_hours"]
    answered = np.select([hours < 24, hours < 72, hours >= 72], [1.0, 0.0, -1.2], 0.0)
    waiting = np.where(features["worst_days_late"] >= 1, -1.6, -0.6)
    return answered + np.where(features["open_tickets"] > 0, waiting, 0.0)


def _contract(features: dict[str, Floats]) -> Floats:
    # Who takes several products likes the cheap plan, who takes one the dear one; beginnings are happy.
    plan = features["plan"]
    has_several = features["products_held"] >= 2
    basic, premium = np.where(has_several, 0.9, -0.5), np.where(has_several, -0.5, 0.7)
    match = np.select([plan == _BASIC, plan == _PREMIUM], [basic, premium], 0.1)
    return match + np.where(features["tenure_weeks"] < 6, 0.5, 0.0)
