"""The specification of hooks is true: each example runs, and gives what its hook gives."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from hfcore import config, context, hookspecs, hookvalues, models
from hfcore.testing.core import Core, SteppedClock
from hfcore.testing.watching import misfits

if TYPE_CHECKING:
    from pathlib import Path

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "hfcore_spec")}


@pytest.mark.parametrize("name", HOOKS)
def test_each_example_runs_and_gives_what_its_hook_gives(name: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    core = Core(tmp_path, SteppedClock(), lambda *_: None, "here")
    request = models.Request(request_id="req-1", status=models.RequestStatus.CREATING, created_at=now)
    machine = models.Machine(
        instance_id="m-1", request_id="req-1", status=models.MachineStatus.RUNNING, observed_at=now
    )
    given: dict[str, Any] = {
        "accounts": {"account-1": 1},
        "actions": ("acme:Launch",),
        "context": core.new_context(),
        "event": models.Event(name="request.created", at=now, request_id="req-1"),
        "host_names": ("host-1",),
        "instance_ids": ("m-1",),
        "instance_types": ("small",),
        "machines": (machine,),
        "notices": (models.Notice(receipt="1"),),
        "owner": "owner-1",
        "plugins": (),
        "releases": (models.Release(request=request, machines=(machine,), return_id="ret-1"),),
        "request": request,
        "request_ids": ("req-1",),
        "requests": (request, replace(request, request_id="req-2")),
        "resources": (),
        "settings": core.settings,
        "subnets": None,
        "template": models.Template(template_id="small"),
    }
    hook = HOOKS[name]
    text = (inspect.getdoc(hook) or "").partition("Example:\n")[2]
    assert text, f"{name} has no example"
    body = textwrap.indent(textwrap.dedent(text), "    ")
    parameters = inspect.signature(hook).parameters
    namespace: dict[str, Any] = {**vars(models), **vars(hookvalues)}
    exec(f"def example({', '.join(parameters)}):\n{body}", namespace)
    result = namespace["example"](**{one: given[one] for one in parameters})

    names = {**vars(models), **vars(hookvalues), **vars(config), **vars(context), "Mapping": Mapping, "Any": Any}
    assert [*misfits(result, get_type_hints(hook, localns=names)["return"], name)] == []
