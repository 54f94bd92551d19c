"""The file as a source: its columns are declared by the model's features.

Used by `file_rows`, so that a file is read by the same code as a source. Three rules for features are added here: true
and false are numbers, NaN in a column of numbers is a missing value, and a JSON value of the wrong kind makes its row
unreadable, as in a request to the service. The entry points are `declare_source` and `adapt_texts`.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.batch_jobs.job_handoffs import FilePlan
from pipeline.duck import literal
from pipeline.manifests import KEYS
from pipeline.models.bundle import Feature
from pipeline.settings import Source
from pipeline.sources.landing import format_of
from pipeline.sources.texts import Texts

NAME = "file"
"""The file's name as a source, in errors."""
_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "BOOLEAN", "NULL")
_TEXTS = ("VARCHAR", "NULL")


def declare_source(plan: FilePlan, features: Sequence[Feature]) -> Source:
    """Return the declaration of the file: text for the keys and categories, numbers for the rest."""
    columns = dict.fromkeys(KEYS, "text") | {f.name: "number" if f.kind == "number" else "text" for f in features}
    source = Source.model_validate({"path": NAME, "format": plan.format, "columns": columns})
    found = format_of(NAME, source, plan.uri)
    # Only in CSV is an empty text a missing value: CSV has no other way to write one.
    return source.model_copy(update={"format": found, "null_values": ("",) if found == "csv" else ()})


def adapt_texts(source: Source, features: Sequence[Feature], texts: Texts) -> Texts:
    """Return the texts with the rules for features applied."""
    numbers = {feature.name for feature in features if feature.kind == "number"}
    columns = {
        name: _number_sql(text, is_typed=name in texts.typed) if name in numbers else text
        for name, text in texts.columns.items()
    }
    # A category may contain NUL, as in a request: only the warehouse cannot store it, and it gets no row of a file.
    texts = replace(texts, columns=columns, with_nul=frozenset(source.columns.keys() - numbers))
    return _adapt_json(source, features, texts) if source.format == "jsonl" else texts


def _number_sql(text: str, *, is_typed: bool) -> str:
    nan = " WHEN 'nan' THEN NULL" if is_typed else ""
    return f"CASE lower(trim({text})) WHEN 'true' THEN '1' WHEN 'false' THEN '0'{nan} ELSE {text} END"


def _adapt_json(source: Source, features: Sequence[Feature], texts: Texts) -> Texts:
    """Return the texts with the kinds of JSON values checked, and with the last value of each repeated key."""
    pointers = ", ".join(literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in source.columns)
    # JSON functions raise an error on text that is not JSON, even in a branch of a CASE that is not taken.
    known = f"""
        SELECT *, json_type(object, [{pointers}]) AS kinds, json_keys(object) AS keys
        FROM (SELECT *, CASE WHEN fields IS NULL THEN '{{}}' ELSE record END AS object FROM {texts.relation})"""
    # Looking for repeated keys is slow. It is only needed when there are more keys than columns that were found.
    once = f"""
        SELECT *, CASE WHEN len(keys) > list_count(kinds) AND len(keys) > list_unique(keys) THEN {_LAST} END AS once
        FROM ({known})"""
    at = {name: position for position, name in enumerate(source.columns, 1)}
    problems = [_wrong_kind_sql(feature, at[feature.name]) for feature in features]
    problems += [_nested_sql(key, at[key]) for key in KEYS]
    return replace(
        texts,
        relation=f"""(
        SELECT * REPLACE (
            coalesce(json_extract_string(once, [{pointers}]), fields) AS fields,
            coalesce(json_type(once, [{pointers}]), kinds) AS kinds)
        FROM ({once}))""",
        structure=f"nullif(concat_ws('; ', {texts.structure}, {', '.join(problems)}), '')",
    )


_LAST = """'{' || array_to_string(list_transform(list_distinct(keys), lambda key:
    CAST(to_json(key) AS VARCHAR) || ':' ||
    list_reverse(json_extract(object, '$.*'))[list_position(list_reverse(keys), key)]), ',') || '}'"""
"""The object with each key once and its last value, which is how JSON libraries read it."""


def _wrong_kind_sql(feature: Feature, at: int) -> str:
    """Return the SQL expression of what is wrong with the kind of a feature's JSON value; NULL if it is right."""
    is_number = feature.kind == "number"
    allowed = ", ".join(map(literal, _NUMBERS if is_number else _TEXTS))
    kind = "number, true, false or null" if is_number else "text or null"
    absent = literal(f"{feature.name}: is absent (null says that it is not known)")
    return (
        f"CASE WHEN fields IS NOT NULL AND kinds[{at}] IS NULL THEN {absent}"
        f" WHEN kinds[{at}] NOT IN ({allowed}) THEN {literal(f'{feature.name}: is no {kind}')} END"
    )


def _nested_sql(key: str, at: int) -> str:
    return f"CASE WHEN kinds[{at}] IN ('OBJECT', 'ARRAY') THEN {literal(f'{key}: is no text or null')} END"
