"""The parts of a running service, made once and handed to the routes. The entry point is `Parts`."""

from dataclasses import dataclass

from pipeline.service.access.keys import Keyring
from pipeline.service.model.current import Current
from pipeline.service.predict.predictor import Predictor
from pipeline.service.published.lookup import Lookup
from pipeline.service.record.recorder import Recorder
from pipeline.settings import Settings


@dataclass(frozen=True)
class Parts:
    """What routes answer with."""

    settings: Settings
    current: Current
    predictor: Predictor
    recorder: Recorder | None
    """None where there is no warehouse, or nothing is to be recorded."""
    lookup: Lookup | None
    """None where there is no warehouse."""
    keyring: Keyring | None
    """None where no keys are required."""
