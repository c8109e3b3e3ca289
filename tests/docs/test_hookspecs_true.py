"""The specification of hooks is true: each example runs, and gives what its hook gives."""

from __future__ import annotations

import inspect
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast, get_type_hints

import pytest

from hfcore import config, context, errors, hookspecs, hookvalues, models, tags
from hfcore.testing.core import Core, SteppedClock
from hfcore.testing.watching import misfits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "hfcore_spec")}


class Acme:
    """The cloud of the examples."""

    def __init__(self) -> None:
        self.there: list[dict[str, Any]] = []

    def launch(self, *, token: str, count: int, tags: Mapping[str, str]) -> list[str]:
        its = {"up": True, "name": "host", "address": "10.0.0.1", "since": datetime.now(UTC), "tags": tags}
        self.there += [{"id": f"m-{token[:8]}-{number}", **its} for number in range(count)]
        return [one["id"] for one in self.there]

    def list(self) -> list[dict[str, Any]]:
        return self.there

    def end(self, machine_id: str) -> None:
        for one in self.there:
            one["up"] = one["up"] and one["id"] != machine_id


def example(name: str) -> Callable[..., Any]:
    """Make a function of the example of a hook."""
    text = (inspect.getdoc(HOOKS[name]) or "").partition("Example:\n")[2]
    assert text, f"{name} has no example"
    body = textwrap.indent(textwrap.dedent(text), "    ")
    raised = {"CloudError": errors.CloudError, "OutcomeUnknown": errors.OutcomeUnknown}
    helpers = {"math": math, "tags": tags, "noted": context.noted, "launch_once": context.launch_once, **raised}
    namespace: dict[str, Any] = {**vars(models), **vars(hookvalues), **helpers}
    exec(f"def example({', '.join(inspect.signature(HOOKS[name]).parameters)}):\n{body}", namespace)
    made: Callable[..., Any] = namespace["example"]
    return made


def test_the_values_that_hooks_give_are_told_with_all_their_fields() -> None:
    told = re.findall(r"^    (\w+)\(([^\[]*)\[([^\]]*)\]\)$", inspect.getdoc(hookspecs) or "", re.MULTILINE)
    assert len(told) > 5
    for name, needed, others in told:
        of_it = {True: [], False: []}  # type: dict[bool, list[str]]
        for one in fields(vars(hookvalues).get(name) or vars(models)[name]):
            of_it[one.default is MISSING and one.default_factory is MISSING].append(one.name)
        assert re.findall(r"\w+", needed) == of_it[True], name
        assert re.findall(r"\w+", others) == of_it[False], name


def test_the_examples_together_are_a_plug_in_whose_machines_come_and_go(tmp_path: Path) -> None:
    acme = Acme()
    core = Core(tmp_path, SteppedClock(), lambda *_: acme, "here")
    hooks = {name: example(name) for name in HOOKS}
    core.provider = cast("Any", SimpleNamespace(name="Acme", info=hooks["provider_info"](), **hooks))
    core.template = models.Template(template_id="small", vm_types={"small": 2})
    request = core.ask(5)
    core.until_done()
    assert core.now(request).status is models.RequestStatus.COMPLETED
    assert len(core.live(request)) == 3
    assert {one.resource_id for one in hooks["owned_resources"](core.context)} == {one["id"] for one in acme.there}
    core.release(request, *core.live(request))
    assert not core.about(*core.its(request)).fulfilled
    assert not hooks["owned_resources"](core.context)


@pytest.mark.parametrize("name", HOOKS)
def test_each_example_runs_and_gives_what_its_hook_gives(name: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    core = Core(tmp_path, SteppedClock(), lambda *_: Acme(), "here")
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
    result = example(name)(**{one: given[one] for one in inspect.signature(hook).parameters})

    names = {**vars(models), **vars(hookvalues), **vars(config), **vars(context), "Mapping": Mapping, "Any": Any}
    assert [*misfits(result, get_type_hints(hook, localns=names)["return"], name)] == []
