"""A team's own scikit-learn pipeline, admitted to the door that ours goes through: `barometer train --pipeline FILE`.

What a file brings is the recipe: its steps and their parameters. It is fitted anew on our train weeks, then calibrated,
exported, compared and evaluated as ours, so that its figures mean the same (docs/decisions/0008-own-pipelines.md). The
file is in skops' format and may hold scikit-learn's own classes only; nothing is unpickled. Entry points, in the order
of their use: `admitted` (plan), `own_pipeline` and `fitted_on` (fit), `own_parameters` (the version's facts).
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError, ModelError
from pipeline.files import sha256_of_file, written_atomically
from pipeline.training.pipelines.onnx_export import DATA_TYPES

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

HOW_TO = "docs/own-model.md"


def admitted(file: Path, folder: Path) -> Path:
    """Check a pipeline's file, and return the copy in `folder` that the training uses from here on.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    ModelError
        If it is not a scikit-learn pipeline in skops' format that ends in a classifier.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The pipeline {file} cannot be read: {error.strerror}.",
            "a file written by skops.io.dump, on the machine that trains.",
            f"name another one; {HOW_TO} shows how to write it.",
        ) from None
    copy = folder / file.name
    with written_atomically(copy) as temporary:
        temporary.write_bytes(content)
    _checked(_loaded(copy))
    return copy


def own_pipeline(path: Path, seed: int) -> "Pipeline":
    """Return the pipeline in `path`, not fitted; what it would leave to chance follows `seed`."""
    from sklearn.base import clone

    pipeline = clone(_checked(_loaded(path)))
    parameters = pipeline.get_params()
    by_chance = [
        name for name, value in parameters.items() if name.rpartition("__")[2] == "random_state" and value is None
    ]
    # A cache would be a folder of pickles that the file names.
    caches = [name for name in parameters if name.rpartition("__")[2] == "memory"]
    return pipeline.set_params(**dict.fromkeys(by_chance, seed), **dict.fromkeys(caches))


def fitted_on(pipeline: "Pipeline", rows: "pd.DataFrame", labels: "pd.Series[int]") -> "Pipeline":
    """Return the pipeline, fitted.

    Raises
    ------
    ModelError
        If it cannot be fitted on these rows, as when it names other columns.
    """
    try:
        return pipeline.fit(rows, labels)
    except Exception as error:  # noqa: BLE001 - anybody's pipeline may fail in any way
        reason = " ".join(f"{error}".split())
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise ModelError(
            f"The pipeline cannot be fitted on the train weeks: {type(error).__name__}: {reason}{cause}.",
            f"one that takes a frame with the columns {', '.join(rows)}: numbers as float32 with NaN for an"
            " absent one, categories as text.",
            f"mend the pipeline and try it on such a frame first; {HOW_TO} shows how.",
        ) from None


def own_parameters(path: Path) -> dict[str, float | int | str]:
    """Return what a version says of the file it came from."""
    steps = " > ".join(type(step).__name__ for _, step in _loaded(path).steps)
    return {"pipeline": path.name, "pipeline_digest": sha256_of_file(path), "steps": steps}


def _loaded(path: Path) -> Any:
    """Return the object in a skops file, once every class in it was found to be one of scikit-learn's."""
    import skops.io

    try:
        unknown = skops.io.get_untrusted_types(file=path)
        foreign = [name for name in unknown if name not in DATA_TYPES and not _is_scikit_learns(name)]
        found = None if foreign else skops.io.load(path, trusted=unknown)
    except Exception as error:  # noqa: BLE001 - a file that is not skops' fails in any way
        raise ModelError(
            f"The file {path.name} is not in skops' format: {type(error).__name__}: {error}.",
            "a scikit-learn pipeline written by skops.io.dump; a pickle or joblib file is never opened.",
            f"write it with skops.io.dump(pipeline, file) and the installed versions; see {HOW_TO}.",
        ) from None
    if foreign:
        raise ModelError(
            f"The file {path.name} holds objects of {', '.join(foreign)}.",
            "only scikit-learn's own classes, which load without running code of the file.",
            f"replace the step by one of scikit-learn's; see {HOW_TO}.",
        )
    return found


def _is_scikit_learns(name: str) -> bool:
    """Return whether it names a class that scikit-learn defines, rather than one it merely imports, or a function."""
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn."):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__.startswith("sklearn.")


def _checked(found: Any) -> Any:
    from sklearn.base import is_classifier
    from sklearn.pipeline import Pipeline

    is_pipeline = isinstance(found, Pipeline) and len(found.steps) > 1
    if not is_pipeline or not is_classifier(found) or not _has_a_margin(found):
        steps = f" of {' > '.join(type(step).__name__ for _, step in found.steps)}" if is_pipeline else ""
        raise ModelError(
            f"The file holds a {type(found).__name__}{steps}, which is no pipeline with a classifier.",
            "a sklearn.pipeline.Pipeline: steps that prepare the features, then a classifier with"
            " decision_function or predict_proba.",
            f"put the model into such a pipeline; see {HOW_TO}.",
        )
    return found


def _has_a_margin(pipeline: "Pipeline") -> bool:
    return hasattr(pipeline[-1], "decision_function") or hasattr(pipeline[-1], "predict_proba")
