"""Own what the contract suite must see of a cloud behind a plug-in's back, and what it lets happen there.

A plug-in's author writes one small subclass of `Cloud` for the cloud that his tests run on. Only the first three
methods must be there. Each of the others lets more tests run: a test that needs one that is missing is skipped, and
says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping


class Cloud(ABC):
    """A cloud as it really is.

    Attributes:
        region: The region that requests have.
        unknown_id: The id of a machine that has never been, in the cloud's own form.
    """

    region = "here"
    unknown_id = "m-unknown"

    @abstractmethod
    def machines(self) -> Mapping[str, Mapping[str, str]]:
        """Give every machine that is coming or running, by id, with its tags."""

    @abstractmethod
    def changes(self) -> int:
        """Count the calls so far that were to change something in the cloud, those that were refused included."""

    @abstractmethod
    def kill(self, machine_id: str) -> None:
        """Let a machine die, as one that crashes does."""

    def clients(self, service: str, patience: str) -> Any:  # noqa: ANN401 - a cloud's own
        """Give the clients that hooks get by `context.clients`."""
        raise LookupError(f"the cloud under test has no client for {service} ({patience})")

    def resources(self) -> Mapping[str, Mapping[str, str]]:
        """Give every fleet, group or template that stands, by id, with its tags; a cloud may have none."""
        return {}

    def listable(self) -> Iterable[str]:
        """Name those of `resources` that the cloud lists by their owner; by default it lists all."""
        return self.resources()

    def pass_time(self, seconds: float) -> None:  # noqa: B027 - nothing has to happen
        """Let time pass: what is coming comes, what is ending ends.

        It passes in small steps, 21 seconds from one poll to the next: add them up. Where all must be over, 10 minutes
        pass at once.
        """

    def calls(self) -> Counter[str]:
        """Count all calls so far by their operation, for the call budgets that the plug-in names."""
        raise NotImplementedError

    def limit(self, machines: int) -> None:
        """Let no more machines than so many be had."""
        raise NotImplementedError

    def hide(self) -> None:
        """Let machines that are made from now on not be shown until time has passed.

        They must be shown, and running, within 2 minutes: 3 after its launch, what still pends is given up.
        """
        raise NotImplementedError

    def page(self, size: int) -> None:
        """Let the cloud answer in pages of so many at most."""
        raise NotImplementedError

    def refuse_questions(self) -> None:
        """Let everything that is asked fail from now on."""
        raise NotImplementedError

    def lose_answer(self) -> None:
        """Let the next change be made, and then the way to the cloud break off before the answer comes."""
        raise NotImplementedError

    def protect(self, machine_id: str) -> None:
        """Let a machine not be ended from now on."""
        raise NotImplementedError

    def stranger(self) -> str:
        """Let somebody else start a machine, without a tag of ours, and give its id."""
        raise NotImplementedError

    def reclaim(self, machine_id: str) -> None:
        """Announce, or do, that the cloud takes a machine back."""
        raise NotImplementedError

    def can(self, what: str) -> bool:
        """Tell whether one of the optional methods is there."""
        return getattr(type(self), what) is not getattr(Cloud, what)
