"""What can be wrong with a data set, as exceptions that carry the command line's exit status."""


class DataError(Exception):
    """The data cannot be used as they are on disk."""

    exit_status = 3


class MissingData(DataError):  # noqa: N818
    """Files are not there; the message names each one, the folder, and how to get them."""


class CorruptData(DataError):  # noqa: N818
    """A file is there but is truncated, altered, or not what its name promises."""


class UnknownDataset(ValueError):  # noqa: N818
    """No data set of that name, and no file pair at that path."""

    exit_status = 2
