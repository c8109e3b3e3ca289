"""Put records into a provider instance's store, by one process: `fill.py launch|live|ended REQUESTS MACHINES`.

`launch` asks AWS for the machines, and polls until all is known; `live` and `ended` copy what is there instead, so that
AWS does not know them: `ended` ones go to the archive. Prints the ids of the requests.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from place import SINGLE

from hfcore.cli.running import open_service
from hfcore.models import MachineStatus

if TYPE_CHECKING:
    from hfcore.models import Machine
    from hfcore.store import State

AT_A_TIME = 50


def launch(requests: int, machines: int) -> list[str]:
    """Ask AWS; each request is a call of its own."""
    made = [open_service().request_machines(SINGLE, machines).request_id for _ in range(requests)]
    for first in range(0, requests, AT_A_TIME):
        open_service().request_status(tuple(made[first : first + AT_A_TIME]))
    return made


def copy(state: State, machines: int, *, ended: bool) -> str:
    """Put a request like the oldest one there, with so many machines like its first."""
    pattern = state.requests()[0]
    like = state.machines_of(pattern)[0]
    request_id = f"req-{uuid.uuid4()}"
    ids = tuple(f"i-{os.urandom(9).hex()[1:]}" for _ in range(machines))
    state.save_request(replace(pattern, request_id=request_id, machine_ids=ids))
    status = MachineStatus.TERMINATED if ended else like.status

    def machine(instance_id: str) -> Machine:
        return replace(like, instance_id=instance_id, request_id=request_id, status=status)

    state.save_batch(map(machine, ids))
    return request_id


def main(how: str, requests: int, machines: int) -> list[str]:
    """Fill the store; give the ids."""
    if how == "launch":
        return launch(requests, machines)
    with open_service().store.transaction() as state:
        made = [copy(state, machines, ended=how == "ended") for _ in range(requests)]
        if how == "ended":
            state.archive(made)
    return made


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
