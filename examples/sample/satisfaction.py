"""The true satisfaction of a subscription as a function of its plain features.

It consists of plausible thresholds and interactions that a linear model cannot represent. A late box matters to a
premium customer but hardly to a basic one; less use of the app is harmless for a new customer; a quickly solved problem
makes people happier than no problem. It uses nothing but the features, so a model that learns it reaches the best
possible AUC. The entry point is `true_probability`.
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
        Plain features by name, from `History.features`, all of one length. Every comparison with NaN is false.
    """
    score = 0.3 + _use(features) + _crashes(features) + _delivery(features) + _support(features) + _contract(features)
    return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)


def _use(features: dict[str, Floats]) -> Floats:
    # Little use is bad, and very much is not the best. A change has another meaning after half a year than before.
    minutes = features["minutes_this_week"] + features["minutes_three_weeks_before"]
    amount = np.select([minutes < 60, minutes < 200, minutes < 600, minutes < 1200], [-1.6, -0.1, 1.1, 0.4], -0.6)
    change = features["minutes_change_percent"]
    is_old = features["tenure_weeks"] >= 26
    fall = np.where(change < -35, np.where(is_old, -1.3, 0.5), 0.0)
    rise = np.where(change > 45, np.where(is_old, 0.7, -0.5), 0.0)
    return amount + fall + rise


def _crashes(features: dict[str, Floats]) -> Floats:
    # One crash does not matter. More of them annoy people, most of all in wellbeing lessons.
    category = features["product_category"]
    annoyance = np.select([category == _WELLBEING, category == _HOBBY], [-1.3, 0.0], -0.4)
    return np.where(features["crashes"] >= 2, annoyance, 0.0)


def _delivery(features: dict[str, Floats]) -> Floats:
    # Lateness matters from the third day on, more in the expensive plans. Damage matters if the box is food.
    plan = features["plan"]
    lateness = np.select([plan == _PREMIUM, plan == _PLUS], [-2.2, -1.0], -0.3)
    damage = np.where(features["product_category"] == _FOOD, -1.5, -0.3)
    return np.where(features["worst_days_late"] >= 3, lateness, 0.0) + np.where(features["had_damage"] > 0, damage, 0.0)


def _support(features: dict[str, Floats]) -> Floats:
    # An answer within a day makes people happier than no ticket. An open ticket after a late box is worst.
    hours = features["slowest_answer_hours"]
    answered = np.select([hours < 24, hours < 72, hours >= 72], [1.0, 0.0, -1.2], 0.0)
    waiting = np.where(features["worst_days_late"] >= 1, -1.6, -0.6)
    return answered + np.where(features["open_tickets"] > 0, waiting, 0.0)


def _contract(features: dict[str, Floats]) -> Floats:
    # Customers with several products prefer the cheap plan, those with one the expensive plan. New ones are happy.
    plan = features["plan"]
    has_several = features["products_held"] >= 2
    basic, premium = np.where(has_several, 0.9, -0.5), np.where(has_several, -0.5, 0.7)
    match = np.select([plan == _BASIC, plan == _PREMIUM], [basic, premium], 0.1)
    return match + np.where(features["tenure_weeks"] < 6, 0.5, 0.0)
