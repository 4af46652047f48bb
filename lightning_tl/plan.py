"""When each phase of a run ends."""

from collections.abc import Sequence

from lightning_tl.errors import InputError


class Plan:
    """Phases one after the other, in epochs of the run counted from 0.

    Args:
        lengths: of the phases, in epochs.

    Attributes:
        ends: the first epoch that no longer belongs to a phase, one a phase.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]

    @property
    def epochs(self) -> int:
        """Of the whole run."""
        return self.ends[-1]

    def phase_at(self, epoch: int) -> int:
        """Position of the phase that an epoch belongs to.

        Raises:
            InputError: it is behind the last.
        """
        found = [index for index, end in enumerate(self.ends) if epoch < end]
        if not found:  # not IndexError nor StopIteration, which loops take for their end
            raise InputError(
                f"phases: they last {self.epochs} epochs, and epoch {epoch + 1} has begun. Leave the number of epochs "
                "to the phases: no other callback may add one."
            )
        return found[0]

    def start(self, index: int) -> int:
        """First epoch of a phase."""
        return self.ends[index - 1] if index else 0

    def length(self, index: int) -> int:
        """Epochs of a phase."""
        return self.ends[index] - self.start(index)

    def end_phase(self, index: int, epoch: int) -> None:
        """Have a phase end before ``epoch``; what follows comes as much sooner."""
        saved = self.ends[index] - epoch
        self.ends = [*self.ends[:index], *(end - saved for end in self.ends[index:])]

    def resume(self, index: int, ends: Sequence[int]) -> None:
        """Take over when the phases before ``index`` have ended, as ``ends`` has it; the others keep their lengths."""
        shift = 0 if index == 0 else ends[index - 1] - self.ends[index - 1]
        self.ends = [*ends[:index], *(end + shift for end in self.ends[index:])]
