"""Own what the use cases of one provider instance work with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.config import Settings
    from hfcore.context import Clock
    from hfcore.dispatch import Dispatch
    from hfcore.journal import IntentFolder
    from hfcore.models import Instance
    from hfcore.store import Store


class ProviderInstance(NamedTuple):
    """A provider instance, for one call: its settings, its records, the way to its plug-ins, and the time.

    Args:
        settings: The settings.
        store: The records.
        journal: The steps that were begun in the cloud.
        dispatch: Calls the plug-ins.
        clock: The time.
        name_of: Gives a machine its host name.
    """

    settings: Settings
    store: Store
    journal: IntentFolder
    dispatch: Dispatch
    clock: Clock
    name_of: Callable[[Instance], str]
