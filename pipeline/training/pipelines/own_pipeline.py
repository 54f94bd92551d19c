"""A team's own scikit-learn pipeline: `barometer train --pipeline FILE`.

Only the recipe is taken from the file: the steps and their parameters. It is fitted anew on our
train weeks, then calibrated, exported, compared and evaluated as ours, so that its figures mean the
same; see docs/decisions/0008-own-pipelines.md. The file is in skops' format and may hold only
scikit-learn's own classes. Nothing is unpickled. Entry points, in the order of their use: `admit`
(plan), `describe_pipeline` (tune), `load_pipeline` and `fit_pipeline` (fit).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, ModelError
from pipeline.files import sha256_of_file, write_bytes
from pipeline.training.pipelines.onnx_export import check_types

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

HOW_TO = "docs/own-model.md"


def admit(file: Path, folder: Path) -> Path:
    """Check the file of a pipeline, and return the copy in `folder` that the training uses."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The pipeline {file} cannot be read: {error.strerror}.",
            "a file written by skops.io.dump, on the machine that trains.",
            f"name another one; {HOW_TO} shows how to write it.",
        ) from None
    copy = folder / file.name
    write_bytes(copy, content)
    _load(copy)
    return copy


def describe_pipeline(path: Path) -> dict[str, float | int | str]:
    """Return what a version's `bundle.json` says of the file it came from."""
    steps = " > ".join(type(step).__name__ for _, step in _load(path).steps)
    return {"pipeline": path.name, "pipeline_digest": sha256_of_file(path), "steps": steps}


def load_pipeline(path: Path, seed: int) -> "Pipeline":
    """Return the pipeline in `path`, not fitted; `seed` is set wherever it gives no `random_state`."""
    from sklearn.base import clone

    pipeline = clone(_load(path))
    changes: dict[str, int | None] = {}
    for name, value in pipeline.get_params().items():
        parameter = name.rpartition("__")[2]
        if parameter == "random_state" and value is None:
            changes[name] = seed
        elif parameter == "memory":  # a cache, which would be a folder of pickles
            changes[name] = None
    return pipeline.set_params(**changes)


def fit_pipeline(pipeline: "Pipeline", rows: "pd.DataFrame", labels: "pd.Series[int]") -> "Pipeline":
    """Return the pipeline, fitted."""
    try:
        return pipeline.fit(rows, labels)
    except Exception as error:  # noqa: BLE001 - a team's pipeline may fail in any way
        reason = " ".join(f"{error}".split())
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise ModelError(
            f"The pipeline cannot be fitted on the train weeks: {type(error).__name__}: {reason}{cause}.",
            f"one that takes a frame with the columns {', '.join(rows)}: numbers as float32 with NaN for an"
            " absent one, categories as text.",
            f"correct the pipeline and try it on such a frame first; {HOW_TO} shows how.",
        ) from None


def _load(path: Path) -> "Pipeline":
    """Return the pipeline in a skops file, after checking that every class in it is one of scikit-learn's."""
    import skops.io
    from sklearn.base import is_classifier
    from sklearn.pipeline import Pipeline

    try:
        trusted = check_types(skops.io.get_untrusted_types(file=path), f"file {path.name}")
        found = skops.io.load(path, trusted=trusted)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - a file in another format fails in any way
        raise ModelError(
            f"The file {path.name} is not in skops' format: {type(error).__name__}: {error}.",
            "a scikit-learn pipeline written by skops.io.dump; a pickle or joblib file is never opened.",
            f"write it with skops.io.dump(pipeline, file) and the installed versions; see {HOW_TO}.",
        ) from None
    is_pipeline = isinstance(found, Pipeline) and len(found.steps) > 1
    has_margin = is_pipeline and any(hasattr(found[-1], name) for name in ("decision_function", "predict_proba"))
    if not has_margin or not is_classifier(found):
        steps = f" of {' > '.join(type(step).__name__ for _, step in found.steps)}" if is_pipeline else ""
        raise ModelError(
            f"The file holds a {type(found).__name__}{steps}, which is no pipeline with a classifier.",
            "a sklearn.pipeline.Pipeline: steps that prepare the features, then a classifier with"
            " decision_function or predict_proba.",
            f"put the model into such a pipeline; see {HOW_TO}.",
        )
    return found
