"""What goes wrong on demand, and for how long. Knows nothing of the requests it happens to."""

from dataclasses import dataclass

from bot.sandbox.answers import Answer


@dataclass(slots=True)
class _Fault:
    where: str
    answer: Answer
    times: int | None
    channel: str | None

    def strikes(self, where: str, channel: str) -> bool:
        return self.where == where and self.times != 0 and self.channel in (None, channel)


class Faults:
    """A queue of faults: at each request, the first that fits and is not used up strikes."""

    def __init__(self) -> None:
        self._queue: list[_Fault] = []

    def add(self, where: str, answer: Answer, times: int | None, channel: str | None) -> None:
        """Queue a fault; `times` None is for ever, `channel` None is every channel."""
        self._queue.append(_Fault(where, answer, times, channel))

    def heal(self, where: str | None) -> None:
        """Forget the faults of one place, or with None all of them."""
        self._queue = [fault for fault in self._queue if where not in (None, fault.where)]

    def strike(self, where: str, channel: str) -> Answer | None:
        """Take the answer that this request must get, if it must get one."""
        fault = next((fault for fault in self._queue if fault.strikes(where, channel)), None)
        if fault is None:
            return None
        if fault.times is not None:
            fault.times -= 1
        return fault.answer
