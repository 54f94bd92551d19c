"""`barometer models compare`, for people and for scripts."""

import json

from tests.promotion.test_comparison import CUSTOMERS, WEEKS, guessing, publish_routed


def test_compare_says_who_is_better_and_by_how_much(barometer, server_url, warehouse_settings):
    database = {"DATABASE__URL": server_url, "DATABASE__PREFIX": warehouse_settings.database.prefix}
    refused = barometer("models", "compare", **database)
    assert refused.exit_code == 1
    assert "has a challenger" in refused.stderr
    other = [1 - score for score in guessing(WEEKS[0])]
    publish_routed(warehouse_settings, WEEKS[0], "shadow", guessing(WEEKS[0]), other)
    publish_routed(warehouse_settings, WEEKS[1], "ab", guessing(WEEKS[1]), guessing(WEEKS[1]))
    words = barometer("models", "compare", "--as-of", str(WEEKS[1]), **database).stdout
    assert "Version 2 (challenger) and version 1 (champion), with the labels known at 2026-01-18 23:00" in words
    assert "1 of 2 weeks have matured; the others' labels are still arriving." in words
    assert f"In the shadow, weeks {WEEKS[0]}:" in words
    assert "100 of 100" in words
    assert "roc_auc" in words
    assert f"A/B test, weeks {WEEKS[1]}:" in words
    assert "Too few labels yet: a side has 0" in words
    found = json.loads(barometer("models", "compare", "--as-of", str(WEEKS[1]), "--json", **database).stdout)
    ab, shadow = found["trials"]
    assert ab["champion"]["predictions"] + ab["challenger"]["predictions"] == len(CUSTOMERS)
    assert shadow["differences"]["roc_auc"]["low"] <= shadow["differences"]["roc_auc"]["value"]
