"""The parts of a running service, made once and handed to the routes. The entry point is `Parts`."""

from dataclasses import dataclass

from pipeline.service.current import Current
from pipeline.service.keys import Keyring
from pipeline.service.lookup import Lookup
from pipeline.service.predictor import Predictor
from pipeline.service.record import Recorder
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
