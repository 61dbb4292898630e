"""Errors that a user can act on."""


class PerceptionError(Exception):
    """One clear line: the value found, what was expected, and where (file, line, key).

    The command line prints it without a traceback and exits with code 2. A library never exits.
    """


class DriveError(PerceptionError):
    """A drive that cannot be opened or holds nothing to replay."""


class CalibrationError(PerceptionError):
    """A calibration file with missing keys or values of the wrong shape."""


class ConfigError(PerceptionError):
    """A configuration file or ``--set`` value that is unknown or out of range."""


class WeightsError(PerceptionError):
    """Weights that are missing, corrupt (SHA-256) or of another architecture."""


class DeviceError(PerceptionError):
    """A device that was asked for but is absent."""


class OutputError(PerceptionError):
    """An output folder that cannot be written, or that holds another run."""


class InputFormatError(PerceptionError):
    """A malformed row, an unknown class or an invalid value in a label or result file."""
