"""Who is told how far a study is."""

from typing import Protocol


class Progress(Protocol):
    """Who is told how far the study is."""

    def stage(self, text: str) -> None:
        """A new stage has begun."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know; it stays in sight."""
        ...

    def courses(self, done: int, total: int) -> None:
        """So many courses of all strategies are done."""
        ...

    def points(self, done: int, total: int) -> None:
        """The stage is done for so many points of a sweep."""
        ...


class Silent:
    """Tells nobody."""

    def stage(self, text: str) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""

    def courses(self, done: int, total: int) -> None:
        """Ignored."""

    def points(self, done: int, total: int) -> None:
        """Ignored."""
