"""Run a verb, and tell the CPU milliseconds that its store took: `store_share.py FILE VERB WORD …`."""

from __future__ import annotations

import functools
import inspect
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcore import store
from hfcore.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

SUSPENDED = {"transaction"}  # is left while its block runs; what it does itself is all in the view's methods


class Watch:
    """Adds up the CPU seconds of functions; one that is called by another counts once."""

    def __init__(self) -> None:
        self.seconds, self._watching = 0.0, False

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function that is watched."""

        @functools.wraps(function)
        def watched(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes and gives
            if self._watching:
                return function(*given, **named)
            begun, self._watching = time.process_time(), True
            try:
                return function(*given, **named)
            finally:
                self._watching = False
                self.seconds += time.process_time() - begun

        return watched


watch = Watch()
store.open_store = watch.over(store.open_store)
for kind in (store.TinyStore, store._TinyState):  # noqa: SLF001 - nothing public tells what belongs to the store
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and name not in SUSPENDED:
            setattr(kind, name, watch.over(method))
code = main(["hostfactory", *sys.argv[2:]])
Path(sys.argv[1]).write_text(str(1000 * watch.seconds))
sys.exit(code)
