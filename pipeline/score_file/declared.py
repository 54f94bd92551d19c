"""The file as a source: where it is, what a model's features declare of it, and what its format knows beside.

Stands behind `read`. What the sources' casts do not say of features is added here: true and false are numbers to a
model, a NaN in a column of numbers is a missing one, and a JSON value is of the feature's kind or unreadable, as it is
in a request to the service. The entry points are `located`, `checked`, `source_of` and `as_declared`.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.duck import literal
from pipeline.errors import ConservationError, SourceError
from pipeline.models.bundle import Feature
from pipeline.readers.landing import Fetched, Located, format_of
from pipeline.readers.texts import Texts
from pipeline.score_file.handoffs import FilePlan
from pipeline.settings import Settings, Source

KEYS = ("customer_id", "product_id")
"""Columns that a file may have beside the features."""
NAME = "file"
"""What the file is called as a source, in errors."""
_JSON_KINDS = {
    "number": ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "BOOLEAN", "NULL"),
    "category": ("VARCHAR", "NULL"),
}


def located(settings: Settings, plan: FilePlan) -> Located:
    """Return where the file is, once it is known to be there and not too large.

    Raises
    ------
    SourceError
        If it cannot be reached, or is larger than `service.upload_bytes`, or nobody can say how large.
    """
    from fsspec.core import url_to_fs

    # A server must not send the request on to another, which nobody allowed.
    options = {"allow_redirects": False} if plan.uri.startswith(("http://", "https://")) else {}
    try:
        filesystem, path = url_to_fs(plan.uri, **options)
        size = filesystem.info(path).get("size")
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(
            found=f"{plan.uri} cannot be reached: {error}.",
            expected="a file that is there and may be read.",
            do="check the address and the access rights.",
        ) from None
    if size is None or size > settings.service.upload_bytes:
        raise SourceError(
            found=f"{plan.uri} {'does not say how large it is' if size is None else f'has {size:,} bytes'}.",
            expected=f"at most {settings.service.upload_bytes:,} bytes (service.upload_bytes).",
            do="split the file.",
        )
    return Located(NAME, plan.uri, filesystem, path)


def checked(plan: FilePlan, file: Fetched) -> None:
    """Refuse a file that is not the one that was handed in.

    Raises
    ------
    ConservationError
        If it is another.
    """
    if plan.digest not in {None, file.digest}:
        raise ConservationError(
            found=f"The file {plan.uri} is not the one that was handed in (sha256 {file.digest[:12]}…).",
            expected=f"sha256 {(plan.digest or '')[:12]}….",
            do="hand the file in again.",
        )


def source_of(plan: FilePlan, features: Sequence[Feature]) -> Source:
    """Return the declaration of the file: text for the keys and categories, numbers for the rest."""
    columns = dict.fromkeys(KEYS, "text") | {f.name: "number" if f.kind == "number" else "text" for f in features}
    source = Source.model_validate({"path": NAME, "format": plan.format, "columns": columns})
    found = format_of(NAME, source, plan.uri)
    # An empty text is missing in CSV only, which has no other way to say so.
    return source.model_copy(update={"format": found, "null_values": ("",) if found == "csv" else ()})


def as_declared(source: Source, features: Sequence[Feature], texts: Texts) -> Texts:
    """Return the texts with what is known of features."""
    numbers = {feature.name for feature in features if feature.kind == "number"}
    columns = {
        name: _number(text, is_typed=name in texts.typed) if name in numbers else text
        for name, text in texts.columns.items()
    }
    if source.format != "jsonl":
        return replace(texts, columns=columns)
    pointers = ", ".join(literal("/" + f.name.replace("~", "~0").replace("/", "~1")) for f in features)
    # Of what is no JSON the function would raise an error, in whatever branch of a CASE it stands.
    kinds = f"json_type(CASE WHEN fields IS NULL THEN '{{}}' ELSE record END, [{pointers}])"
    problems = ", ".join(_of_another_kind(feature, at) for at, feature in enumerate(features, 1))
    return replace(
        texts,
        columns=columns,
        relation=f"(SELECT *, {kinds} AS kinds FROM {texts.relation})",
        structure=f"nullif(concat_ws('; ', {texts.structure}, {problems}), '')",
    )


def _number(text: str, *, is_typed: bool) -> str:
    nan = " WHEN 'nan' THEN NULL" if is_typed else ""
    return f"CASE lower(trim({text})) WHEN 'true' THEN '1' WHEN 'false' THEN '0'{nan} ELSE {text} END"


def _of_another_kind(feature: Feature, at: int) -> str:
    """Return the SQL expression of what is wrong with the kind of a JSON value; NULL where nothing is."""
    allowed = ", ".join(map(literal, _JSON_KINDS[feature.kind]))
    kind = "number, true, false or null" if feature.kind == "number" else "text or null"
    return f"CASE WHEN kinds[{at}] NOT IN ({allowed}) THEN {literal(f'{feature.name}: is no {kind}')} END"
