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
        self.seconds, self._depth = 0.0, 0

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function that is watched."""

        @functools.wraps(function)
        def watched(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes and gives
            begun, self._depth = time.process_time(), self._depth + 1
            try:
                return function(*given, **named)
            finally:
                self._depth -= 1
                self.seconds += 0.0 if self._depth else time.process_time() - begun

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
