"""What happens to input that breaks the rules: refused at once, or left out and counted with ``--lenient``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from perception.errors import InputFormatError

__all__ = ["Intake"]


@dataclass(slots=True)
class Intake:
    """The one place that decides between refusing and leaving out.

    Attributes:
        lenient: leave out and count instead of raising.
        left_out: how many of each kind were left out.
        examples: the first message of each kind.
    """

    lenient: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def refuse(self, kind: str, message: str, count: int = 1) -> None:
        """Raises ``InputFormatError(message)``; when lenient, counts ``count`` under ``kind`` and returns.

        >>> intake = Intake(lenient=True)
        >>> intake.refuse("malformed row", "a.txt:3: 17 columns expected, 5 found")
        >>> intake.summary()
        ['left out: 1 malformed row (first: a.txt:3: 17 columns expected, 5 found)']
        """
        if not self.lenient:
            raise InputFormatError(message)
        self.left_out[kind] += count
        self.examples.setdefault(kind, message)

    def summary(self) -> list[str]:
        """One line for each kind that was left out."""
        return [f"left out: {n} {kind} (first: {self.examples[kind]})" for kind, n in sorted(self.left_out.items())]
