"""What the learner has reached, in a file beside their app."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Progress:
    """The current step, and when each was done."""

    reached: int = 1
    started: float = field(default_factory=time.time)
    done: dict[str, float] = field(default_factory=dict)  # time, by step; "all" when full marks were reached

    @classmethod
    def read(cls, file: Path) -> "Progress":
        """The progress in ``file``. It begins at step 1 if there is none, or if the file was damaged."""
        try:
            kept = cls(**json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()
        return kept if kept.reached in range(1, 11) else cls()

    def write(self, file: Path) -> None:
        """Keep it."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def note(self, step: int | str) -> None:
        """A step is done. The first time counts."""
        self.done.setdefault(str(step), time.time())

    @property
    def minutes(self) -> int:
        """From the start to full marks."""
        return round((self.done.get("all", time.time()) - self.started) / 60)
