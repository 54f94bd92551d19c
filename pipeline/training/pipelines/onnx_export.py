"""Export: the one way from a fitted scikit-learn pipeline to the files of a model version.

It writes the pipeline itself (in skops' format, for people and for MLflow), the same model compiled to ONNX and, of our
families, as plain arrays for the exact engine. It refuses a pipeline whose forms differ. The entry point is `export`.
"""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.bundle import ARRAYS_FILE, ONNX_FILE, Feature
from pipeline.models.scoring.exact import ExactEngine
from pipeline.models.scoring.onnx import INPUT_PREFIX, OnnxEngine
from pipeline.training.pipelines.array_export import to_arrays
from pipeline.training.pipelines.parity import check_parity

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

DATA_TYPES = {"numpy.dtype"}
"""Types outside scikit-learn that hold no code; an imputer keeps the dtype of the numbers it was fitted on."""


def export(pipeline: "Pipeline", features: list[Feature], rows: "pd.DataFrame", folder: Path, family: str = "") -> int:
    """Write the version's files to `folder`, which must not exist, and return how many rows its forms agree on.

    The pipeline is fitted and takes a frame as `pipeline.training.training_set.frame` makes it;
    `rows` is such a frame of training rows. A pipeline of a `family` of ours is written as arrays too.
    """
    files = {ONNX_FILE: to_onnx(pipeline, features)}
    compared = check_parity(pipeline, OnnxEngine(files[ONNX_FILE], features), rows)
    if arrays := to_arrays(pipeline, features, family):
        check_parity(pipeline, ExactEngine(arrays, features), rows)
        files[ARRAYS_FILE] = arrays
    _save_with_mlflow(pipeline, features, rows, folder)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return compared


def to_onnx(pipeline: "Pipeline", features: list[Feature]) -> bytes:
    """Return the pipeline as an ONNX file with one input for each feature, in order."""
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = {"number": FloatTensorType, "category": StringTensorType}
    try:
        model = skl2onnx.to_onnx(
            pipeline,
            name="satisfaction",  # by default the name is random
            initial_types=[(feature.name, types[feature.kind]([None, 1])) for feature in features],
            options={id(pipeline): {"zipmap": False}},
        )
    except Exception as error:  # noqa: BLE001 - its errors have no common base class
        raise ModelError(
            f"The pipeline cannot be converted to ONNX: {type(error).__name__}: {str(error).splitlines()[0]}.",
            "steps that skl2onnx converts (docs/decisions/0006-float32-and-onnx.md lists the exact ones).",
            "replace the step that is named.",
        ) from None
    # skl2onnx changes names that are no identifiers, so name the inputs after their features again.
    names = {
        given.name: INPUT_PREFIX + feature.name for given, feature in zip(model.graph.input, features, strict=True)
    }
    for given in model.graph.input:
        given.name = names[given.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return model.SerializeToString()  # type: ignore[no-any-return]


def _save_with_mlflow(pipeline: "Pipeline", features: list[Feature], rows: "pd.DataFrame", folder: Path) -> None:
    """Write an MLflow model: the pipeline in skops' format, its signature, an input example, its requirements."""
    import mlflow.sklearn
    import skops.io
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    types = {"number": "float", "category": "string"}
    inputs = Schema([ColSpec(types[feature.kind], feature.name, required=False) for feature in features])
    mlflow.sklearn.save_model(
        pipeline,
        folder,
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
        skops_trusted_types=check_types(skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)), "pipeline"),
        signature=ModelSignature(inputs=inputs, outputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))])),
        input_example=rows.head(5),
        pip_requirements=[f"{name}=={number}" for name, number in libraries().items()],  # MLflow guesses slowly
        pyfunc_predict_fn="predict_proba",
    )


def check_types(names: list[str], holder: str) -> list[str]:
    """Return the types that skops asks about in a file, after checking that each is a class of scikit-learn's."""
    foreign = [name for name in names if name not in DATA_TYPES and not _is_scikit_learns(name)]
    if foreign:
        raise ModelError(
            f"The {holder} holds objects of {', '.join(foreign)}.",
            "only scikit-learn's own classes, which load without running code of the file.",
            "replace the step by one of scikit-learn's; see docs/own-model.md.",
        )
    return names


def _is_scikit_learns(name: str) -> bool:
    """Return whether it names a class that scikit-learn defines, and not one it only imports, or a function."""
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn."):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__.startswith("sklearn.")


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that a version's files depend on."""
    return {name: version(name) for name in ("scikit-learn", "skops", "numpy", "pandas", "skl2onnx", "onnxruntime")}
