"""What can go wrong, as a tree.

CellwrightError              one sentence for the user, exit status 1
├── DataError                a file, table or matrix is not what was needed
├── SettingsError            a setting or argument has a value that cannot work
├── RunError                 a run folder is missing, foreign, incomplete or in use
├── MissingExtra             an optional package is needed; the sentence holds the pip line
├── Interrupted              a signal stopped a run; its checkpoint is saved, exit status 130 or 143
└── CheckFailed              a check failed under --strict, exit status 3

Each message says what was asked, what was given, why it does not fit and what to do.
"""

from __future__ import annotations


class CellwrightError(Exception):
    """A failure the user can act on; its text is one sentence and is shown without a traceback."""

    exit_status = 1


class DataError(CellwrightError):
    """A file, table or matrix is not what was needed."""


class SettingsError(CellwrightError):
    """A setting or argument has a value that cannot work."""


class RunError(CellwrightError):
    """A run folder is missing, foreign, incomplete or in use by another process."""


class MissingExtra(CellwrightError):
    """An optional package is needed; the message holds the pip line that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: "
            f"pip install 'cellwright[{extra}]'"
        )


class Interrupted(CellwrightError):
    """A signal stopped the run after its checkpoint was saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


class CheckFailed(CellwrightError):
    """A check failed and --strict was asked for."""

    exit_status = 3
