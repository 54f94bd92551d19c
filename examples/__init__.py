"""Companies to try Barometer with."""
