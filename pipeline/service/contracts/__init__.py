"""The contracts that the service speaks: our own (`barometer`), and standards of others.

Each module of another's standard has `read` (a request to instances), `write` (predictions to a response) and, where
errors have a form of their own, `error`. Its paths are described in the YAML file beside it. `standard` makes its
routes of these.
"""
