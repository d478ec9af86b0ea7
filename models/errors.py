"""One root for every error that a person can meet, so that a front door catches one type and prints one sentence."""


class GenrescopeError(Exception):
    """Root of all errors raised on purpose. The message says what was expected, what came, and what to do."""


class ConfigError(GenrescopeError):
    """A setting is out of its range, unknown, or contradicts another."""


class ModelFileError(GenrescopeError):
    """A model file is missing, damaged, foreign, or does not keep its own card's promises."""


class AudioError(GenrescopeError):
    """Audio could not be read: not audio, empty, damaged, or of an unexpected rate or channel count."""


class SourceError(GenrescopeError):
    """A live source could not be opened or stopped delivering. May pass: the channel tries again."""


class SourceAddressError(SourceError):
    """No such source on this machine (no such device or file, 404, not audio): trying again will not help."""


class DatasetError(GenrescopeError):
    """A table or folder of training audio is missing, inconsistent, or leaks between its folds."""


class TrainingError(GenrescopeError):
    """Training cannot go on: it diverged, a checkpoint cannot be written, or no learning rate can be suggested."""


class EngineError(GenrescopeError):
    """A TensorRT engine cannot be built, opened or run here, or does not answer as its model does."""
