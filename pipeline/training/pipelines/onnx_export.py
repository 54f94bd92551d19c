"""Export: the one door from a fitted scikit-learn pipeline to the files of a model version.

It writes the pipeline itself (skops, for people and for MLflow) and the same model compiled to ONNX (for scoring),
and refuses a pipeline whose two forms differ. The entry point is `export`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.bundle import ONNX_FILE, Feature
from pipeline.models.scorer import INPUT_PREFIX, Scorer
from pipeline.training.pipelines.parity import check_parity

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

DATA_TYPES = {"numpy.dtype"}
"""Types beside scikit-learn's that hold no code: an imputer keeps that of the numbers it was fitted on."""


def export(pipeline: "Pipeline", features: list[Feature], rows: "pd.DataFrame", folder: Path) -> int:
    """Write the version's files to `folder` and return on how many rows its two forms were compared.

    Parameters
    ----------
    pipeline
        Fitted; takes a frame as `pipeline.training.training_set.frame` makes it.
    features
        The signature.
    rows
        Training rows.
    folder
        Must not exist.

    Raises
    ------
    ModelError
        If the pipeline cannot be converted, differs in ONNX, or holds what skops would not load as safe.
    """
    model = to_onnx(pipeline, features)
    compared = check_parity(pipeline, Scorer(model, features, threshold=0.5), rows)
    _save_with_mlflow(pipeline, features, rows, folder)
    (folder / ONNX_FILE).write_bytes(model)
    return compared


def to_onnx(pipeline: "Pipeline", features: list[Feature]) -> bytes:
    """Return the pipeline as an ONNX file with one input for each feature, in order."""
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = {"number": FloatTensorType, "category": StringTensorType}
    try:
        model = skl2onnx.to_onnx(
            pipeline,
            name="satisfaction",  # the default is a random one
            initial_types=[(feature.name, types[feature.kind]([None, 1])) for feature in features],
            options={id(pipeline): {"zipmap": False}},
        )
    except Exception as error:  # noqa: BLE001 - its errors have no other common base
        raise ModelError(
            f"The pipeline cannot be converted to ONNX: {type(error).__name__}: {str(error).splitlines()[0]}.",
            "steps that skl2onnx converts (docs/decisions/0006-float32-and-onnx.md names the exact ones).",
            "replace the step that is named.",
        ) from None
    _name_inputs(model.graph, features)
    return model.SerializeToString()  # type: ignore[no-any-return]


def _name_inputs(graph: Any, features: list[Feature]) -> None:
    """Give the inputs their features' names; skl2onnx mangles names that are no identifiers."""
    names = {given.name: INPUT_PREFIX + feature.name for given, feature in zip(graph.input, features, strict=True)}
    for given in graph.input:
        given.name = names[given.name]
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def _save_with_mlflow(pipeline: "Pipeline", features: list[Feature], rows: "pd.DataFrame", folder: Path) -> None:
    """Write an MLflow model: the pipeline as skops, its signature, an input example, its requirements."""
    import mlflow.sklearn

    example = rows.head(5)
    mlflow.sklearn.save_model(
        pipeline,
        folder,
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
        skops_trusted_types=_types_to_trust(pipeline),
        signature=_mlflow_signature(features),
        input_example=example,
        pip_requirements=[f"{name}=={version}" for name, version in libraries().items()],  # else guessed, slowly
        pyfunc_predict_fn="predict_proba",
    )


def _mlflow_signature(features: list[Feature]) -> Any:
    """Return the signature in MLflow's words; every input may be absent."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    types = {"number": "float", "category": "string"}
    given = Schema([ColSpec(types[feature.kind], feature.name, required=False) for feature in features])
    return ModelSignature(inputs=given, outputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))


def _types_to_trust(pipeline: "Pipeline") -> list[str]:
    """Return the types that skops must be told to trust; only scikit-learn's own can be."""
    import skops.io

    types = skops.io.get_untrusted_types(data=skops.io.dumps(pipeline))
    foreign = [name for name in types if not name.startswith("sklearn.") and name not in DATA_TYPES]
    if foreign:
        raise ModelError(
            f"The pipeline holds objects of {', '.join(foreign)}.",
            "only scikit-learn's own classes, which load without running code of the file.",
            "replace the step by one of scikit-learn's.",
        )
    return list(types)


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that a version's files depend on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("scikit-learn", "skops", "numpy", "pandas", "skl2onnx", "onnxruntime")}
