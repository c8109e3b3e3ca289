"""How plug-ins are found, loaded, judged and called, and that a broken one harms no other."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from textwrap import dedent
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cli.running import SystemClock
from hfcore.environment import fingerprint
from hfcore.errors import CloudError, PluginCallError, PluginUnusable, UnknownProvider
from hfcore.hookspecs import HOOK_VERSION, REQUIRED
from hfcore.memory import FileMemory
from hfcore.models import (
    Discovery,
    Event,
    Fault,
    Instance,
    Outcome,
    Provisioned,
    Released,
    Request,
    RequestStatus,
    Template,
)
from hfcore.plugins import Candidate, Plugins, PluginStatus, Provider, installed
from hfcore.testing import FakeCloud, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[..., Candidate]

LOGGER = logging.getLogger("hfcore.test")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
REQUEST = Request(request_id="req-1", status=RequestStatus.IN_PROGRESS, created_at=NOW)
INSTANCE: Any = Instance(instance_id="i-1")
EVENT = Event(name="request.created", at=NOW, request_id="req-1")
CONTEXT: Any = SimpleNamespace(region="", clock=SimpleNamespace(now=lambda: NOW))  # all that is looked at here

PLUGIN = """
from hfcore import hookimpl
from hfcore.models import Discovery, Outcome, ProviderInfo, Provisioned

@hookimpl
def provider_info():
    return ProviderInfo(name={name!r}, hook_version={hook_version}, summary="s", template_fields=({name!r},))

@hookimpl
def validate_template(template): return ()

@hookimpl
def provision(request): return Provisioned(request_id=request.request_id)

@hookimpl
def discover_instances(requests): return ()

@hookimpl
def stop_launching(requests): return ()

@hookimpl
def release_instances(releases): return ()

@hookimpl
def owned_resources(): return ()

@hookimpl
def cleanup(requests): return ()
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a plug-in's module, and give its entry point; the body follows a whole plug-in unless it stands `alone`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write_module(
        name: str, body: str = "", *, alone: bool = False, distribution: str = "", hook_version: int = HOOK_VERSION
    ) -> Candidate:
        distribution = distribution or f"hfcore-{name.lower()}"
        module = f"{distribution.replace('-', '_')}_{name.lower()}_{tmp_path.name.replace('-', '_')}"
        whole = PLUGIN.format(name=name, hook_version=hook_version)
        (tmp_path / f"{module}.py").write_text(("" if alone else whole) + dedent(body))
        return Candidate(name=name, module=module, distribution=distribution, version="1.2")

    yield write_module
    for module in set(sys.modules) - before:
        del sys.modules[module]


def plugins(
    *candidates: Candidate,
    pins: dict[str, str] | None = None,
    disabled: tuple[str, ...] = (),
    observers: tuple[Candidate, ...] = (),
) -> Plugins:
    return Plugins(candidates, logger=LOGGER, pins=pins, disabled=disabled, observers=observers)


def reason(error: pytest.ExceptionInfo[Exception]) -> str:
    return str(error.value)


# Finding


def test_a_plug_in_is_found_by_its_name_in_any_case(write: Write) -> None:
    assert plugins(write("Good")).provider("gOOD").name == "Good"


def test_the_names_of_all_are_told_without_importing_any(write: Write) -> None:
    good, bad = write("Good"), write("bad", "raise RuntimeError", alone=True)
    assert plugins(good, bad).names() == ("bad", "Good")
    assert good.module not in sys.modules


def test_only_the_plug_in_that_is_needed_is_imported(write: Write) -> None:
    one, two = write("One"), write("Two")
    plugins(one, two).provider("One")
    assert one.module in sys.modules
    assert two.module not in sys.modules


def test_an_unknown_name_says_what_is_installed(write: Write) -> None:
    with pytest.raises(UnknownProvider, match="'ASG' is not installed") as caught:
        plugins(write("Good")).provider("ASG")
    assert "Good" in caught.value.hint


def test_an_alias_leads_to_the_same_plug_in(write: Write) -> None:
    row = write("Good")
    both = plugins(row, replace(row, name="Alias"))
    assert both.provider("Alias").info is not None
    assert both.provider("Good").provision(REQUEST, Template(template_id="t"), CONTEXT).request_id == "req-1"
    assert both.provider("Alias").provision(REQUEST, Template(template_id="t"), CONTEXT).request_id == "req-1"
    (record,) = both.records()
    assert (record.candidate.name, record.aliases) == ("Good", ("Alias",))


def test_entry_points_of_a_group_that_nobody_has_are_none() -> None:
    assert installed("hfcore.no-such-group") == ()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the one folder in which distributions stand; the current one, first on the path, is beside it."""
    folder = tmp_path / "site"
    folder.mkdir()
    (tmp_path / "current").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "current"), str(folder)])
    return folder


def claim(folder: Path, name: str, distribution: str = "acme-1.0", age: float = 60) -> None:
    """Put a distribution in a folder that claims a provider API; so many seconds ago, by the folder's time."""
    info = folder / f"{distribution}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hfcore.providers]\n{name} = acme\n")
    os.utime(folder, (time.time() - age,) * 2)


@pytest.fixture
def looked_for(tmp_path: Path) -> Callable[[], list[str]]:
    """Give what a new process finds, which remembers what others have found."""

    def of_a_new_process() -> list[str]:
        memory = FileMemory(tmp_path / "memory.json", clock=SystemClock())
        return [one.name for one in installed("hfcore.providers", memory)]

    return of_a_new_process


def test_entry_points_are_looked_for_anew_only_once_what_is_installed_has_changed(
    site: Path, looked_for: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(site, "One")
    assert looked_for() == ["One"]
    with monkeypatch.context() as patch:
        patch.setattr("hfcore.environment.scan", lambda _: ())
        assert looked_for() == ["One"]
    claim(site, "Two", "other-1.0", age=50)
    assert sorted(looked_for()) == ["One", "Two"]


def test_what_the_current_folder_holds_is_neither_found_nor_remembered(
    site: Path, looked_for: Callable[[], list[str]], tmp_path: Path
) -> None:
    claim(site, "Good")
    claim(tmp_path / "current", "Foreign", "foreign-1.0")
    assert looked_for() == ["Good"]


def test_of_two_distributions_of_one_name_the_first_on_the_path_counts(
    site: Path, looked_for: Callable[[], list[str]], tmp_path: Path
) -> None:
    claim(site, "First")
    claim(tmp_path, "Second", "Acme-2.0")
    sys.path.append(str(tmp_path))
    assert looked_for() == ["First"]


@pytest.mark.parametrize("age", [1, -3600], ids=["just now", "in a time to come"])
def test_a_look_while_a_distribution_is_being_installed_is_not_remembered(
    site: Path, looked_for: Callable[[], list[str]], age: float
) -> None:
    claim(site, "Slow", age=age)
    points = site / "acme-1.0.dist-info" / "entry_points.txt"
    text = points.read_text()
    points.unlink()
    assert looked_for() == []
    points.write_text(text)
    assert looked_for() == ["Slow"]


def test_an_installation_whose_folders_times_were_set_back_is_told_from_the_one_before(site: Path) -> None:
    os.utime(site, (0, 0))
    before = fingerprint()
    claim(site, "Good")
    os.utime(site, (0, 0))
    assert before != fingerprint() != ""


def test_people_and_host_factory_s_scripts_see_the_same_installation(tmp_path: Path) -> None:
    code = "from hfcore import environment; environment.SETTLED = 0; print(environment.fingerprint())"
    ways = ([sys.executable, "-P", "-c", code], [sys.executable, "-c", code])
    told = [subprocess.run(way, cwd=tmp_path, capture_output=True, check=True, env={}).stdout for way in ways]
    assert told[0] == told[1]


# Broken ones

BROKEN = {
    "an import that fails": ("import no_such_module_at_all", True, "No module named 'no_such_module_at_all'"),
    "a module that exits": ("import sys; sys.exit(3)", True, "SystemExit: 3"),
    "a syntax error": ("def broken(:", True, "SyntaxError"),
    "an exception": ("raise ValueError('bad luck')", True, "ValueError: bad luck"),
    "no provider_info": ("", True, "provider_info"),
    "provider_info of a wrong type": ("@hookimpl\ndef provider_info(): return 'x'", False, "expected ProviderInfo"),
    "provider_info that raises": ("@hookimpl\ndef provider_info(): raise OSError('disk')", False, "OSError: disk"),
    "a wrong hook signature": ("@hookimpl\ndef cleanup(requests, colour): return ()", False, "colour"),
    "a hook that there is not": ("@hookimpl\ndef make_coffee(): return 1", False, "make_coffee"),
    "a hook that is not marked": ("def cleanup(requests): return ()", False, "implements no cleanup"),
    "missing hooks": ("del cleanup, stop_launching", False, "implements no cleanup, stop_launching"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_plug_in_is_a_row_with_its_reason_and_harms_no_other(write: Write, broken: str) -> None:
    body, alone, why = BROKEN[broken]
    good, bad, last = write("Good"), write("Bad", body, alone=alone), write("Last")
    all_of_them = plugins(good, bad, last)
    with pytest.raises(PluginUnusable, match=r"plug-in Bad of hfcore-bad 1\.2 is failed") as caught:
        all_of_them.provider("Bad")
    assert why in reason(caught)
    assert all_of_them.provider("Good").provision(REQUEST, Template(template_id="t"), CONTEXT).request_id == "req-1"
    assert all_of_them.provider("Last").provision(REQUEST, Template(template_id="t"), CONTEXT).request_id == "req-1"
    rows = {record.candidate.name: record for record in all_of_them.records()}
    assert (rows["Bad"].status, why in rows["Bad"].reason) == (PluginStatus.FAILED, True)
    assert (rows["Good"].status, rows["Last"].status) == (PluginStatus.ACTIVE, PluginStatus.ACTIVE)


def test_a_plug_in_for_another_hook_version_is_refused_and_says_which(write: Write) -> None:
    row = write("Old", hook_version=HOOK_VERSION + 1)
    with pytest.raises(
        PluginUnusable, match=f"made for hook version {HOOK_VERSION + 1}; this hfcore has {HOOK_VERSION}"
    ):
        plugins(row).provider("Old")
    assert plugins(row).records()[0].status is PluginStatus.INCOMPATIBLE


def test_a_plug_in_that_fails_to_import_is_not_imported_again(write: Write, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    body = f"""
        with open({str(marks)!r}, "a") as file:
            file.write("x")
        raise RuntimeError
    """
    row = write("Bad", body, alone=True)
    broken = plugins(row)
    for _ in range(2):
        with pytest.raises(PluginUnusable):
            broken.provider("Bad")
    assert marks.read_text() == "x"


def test_a_row_of_a_good_plug_in_names_its_hooks(write: Write) -> None:
    (record,) = plugins(write("Good")).records()
    assert set(record.hooks) == REQUIRED
    assert record.reason == ""


def test_template_fields_are_those_of_usable_plug_ins(write: Write) -> None:
    all_of_them = plugins(write("Good"), write("Bad", "raise ValueError"), write("Off"), disabled=("off",))
    assert all_of_them.template_fields() == {"Good"}


# Which one


def test_a_name_that_two_distributions_claim_is_served_by_neither(write: Write) -> None:
    one, two = write("ASG", distribution="first-dist"), write("ASG", distribution="second-dist")
    both = plugins(one, two)
    with pytest.raises(PluginUnusable, match="first-dist and second-dist both claim ASG") as caught:
        both.provider("ASG")
    assert 'plugins = {ASG = "second-dist"}' in reason(caught)
    assert [record.status for record in both.records()] == [PluginStatus.CONFLICT, PluginStatus.CONFLICT]
    assert {one.module, two.module}.isdisjoint(sys.modules)


@pytest.mark.parametrize("pin", ["first-dist", "second-dist", "Second_Dist"])
def test_the_setting_plugins_decides_between_two(write: Write, pin: str) -> None:
    one, two = write("ASG", distribution="first-dist"), write("asg", distribution="second-dist")
    both = plugins(one, two, pins={"asg": pin})
    chosen = "first-dist" if pin == "first-dist" else "second-dist"
    assert both.provider("ASG").candidate.distribution == chosen
    statuses = {record.candidate.distribution: record.status for record in both.records()}
    other = ({"first-dist", "second-dist"} - {chosen}).pop()
    assert statuses == {chosen: PluginStatus.ACTIVE, other: PluginStatus.DISABLED}


def test_the_distribution_that_a_request_was_stored_with_decides(write: Write) -> None:
    one, two = write("ASG", distribution="first-dist"), write("ASG", distribution="second-dist")
    for pins in ({}, {"ASG": "first-dist"}):
        assert plugins(one, two, pins=pins).provider("ASG", "second-dist").candidate.distribution == "second-dist"


def test_a_request_is_not_handed_to_another_distribution_than_it_was_stored_with(write: Write) -> None:
    with pytest.raises(UnknownProvider, match="second-dist"):
        plugins(write("ASG", distribution="first-dist")).provider("ASG", "second-dist")


def test_a_disabled_plug_in_is_not_imported_and_says_so(write: Write) -> None:
    row = write("Good")
    with pytest.raises(PluginUnusable, match="disabled_plugins"):
        plugins(row, disabled=("good",)).provider("Good")
    assert row.module not in sys.modules


def test_a_disabled_plug_in_serves_no_stored_request_either(write: Write) -> None:
    row = write("Good")
    with pytest.raises(PluginUnusable, match="disabled_plugins"):
        plugins(row, disabled=("good",)).provider("Good", row.distribution)


def test_what_shuts_out_a_name_shuts_out_its_aliases_and_the_other_way_round(write: Write) -> None:
    row, other = write("ASG", distribution="first-dist"), write("ASG", distribution="second-dist")
    alias = replace(row, name="Group")
    for disabled in ("asg", "group"):
        for name in ("ASG", "Group"):
            with pytest.raises(PluginUnusable, match=f"(?i)take {disabled} out"):
                plugins(row, alias, disabled=(disabled,)).provider(name)
    for name in ("ASG", "Group"):
        with pytest.raises(PluginUnusable, match="first-dist and second-dist both claim ASG"):
            plugins(row, alias, other).provider(name)
    with pytest.raises(PluginUnusable, match="gives ASG to second-dist"):
        plugins(row, alias, other, pins={"ASG": "second-dist"}).provider("Group")
    for pins in ({"ASG": "first-dist"}, {"ASG": "second-dist", "Group": "first-dist"}):
        assert plugins(row, alias, other, pins=pins).provider("Group").candidate == alias
    assert row.module in sys.modules
    assert other.module not in sys.modules


def test_a_pin_decides_on_an_alias_that_both_have(write: Write) -> None:
    one, two = write("ASG", distribution="first-dist"), write("ASG", distribution="second-dist")
    rows = (one, two, replace(one, name="Group"), replace(two, name="Group"))
    assert plugins(*rows, pins={"ASG": "second-dist"}).provider("Group").candidate == rows[3]


# Calling


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def provider(cloud: FakeCloud) -> Iterator[Provider]:
    with FakeProvider(cloud).installed() as candidate:
        yield plugins(candidate).provider("Fake")


CALLS: dict[str, Callable[[Provider], object]] = {
    "validate_template": lambda p: p.validate_template(Template(template_id="t"), CONTEXT),
    "provision": lambda p: p.provision(REQUEST, Template(template_id="t"), CONTEXT),
    "advance": lambda p: p.advance((REQUEST,), CONTEXT),
    "discover_instances": lambda p: p.discover_instances((REQUEST,), CONTEXT),
    "stop_launching": lambda p: p.stop_launching((REQUEST,), CONTEXT),
    "release_instances": lambda p: p.release_instances((), CONTEXT),
    "reclaimed_instances": lambda p: p.reclaimed_instances((), (), CONTEXT),
    "owned_resources": lambda p: p.owned_resources(CONTEXT),
    "cleanup": lambda p: p.cleanup((REQUEST,), CONTEXT),
}


@pytest.mark.parametrize("hook", CALLS)
@pytest.mark.parametrize("error", [ValueError("aek3"), SystemExit("aek3"), KeyError("aek3")], ids=repr)
def test_what_a_hook_should_not_raise_names_distribution_version_and_hook(
    provider: Provider, cloud: FakeCloud, hook: str, error: BaseException
) -> None:
    cloud.fail(hook, error)
    with pytest.raises(PluginCallError) as caught:
        CALLS[hook](provider)
    for part in ("Fake", "hfcore-fake 1", f"{hook}()", f"{type(error).__name__} at hfcore."):
        assert part in reason(caught)
    assert "aek3" not in reason(caught)  # it may be of the template
    assert "hfcore-fake" in caught.value.hint


def test_what_a_hook_raised_is_told_by_the_line_of_the_plug_in_not_of_a_library(write: Write) -> None:
    row = write(
        "Good",
        """
        @hookimpl
        def provision(request):
            import json
            json.loads("aek3")
    """,
    )
    provider = plugins(row).provider("Good")
    with pytest.raises(PluginCallError, match=rf"raised JSONDecodeError at {row.module}:\d+$"):
        provider.provision(REQUEST, Template(template_id="t"), CONTEXT)


def test_the_log_has_the_lines_that_led_to_what_a_plug_in_raised_and_never_its_text(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    row = write(
        "Good",
        """
        @hookimpl
        def provision(request):
            return len(request=1)

        @hookimpl
        def cleanup(requests):
            text = "ae" + "k3"
            raise TypeError(text)

        @hookimpl
        def owned_resources():
            import sys, types
            raise TypeError("x").with_traceback(types.TracebackType(None, sys._getframe(), 10**6, 1))
    """,
    )
    provider = plugins(row).provider("Good")
    with pytest.raises(PluginCallError, match=rf"raised TypeError at {row.module}:\d+$"):
        provider.provision(REQUEST, Template(template_id="t"), CONTEXT)
    assert "return len(request=1)" in caplog.text
    with pytest.raises(PluginCallError, match=rf"raised TypeError at {row.module}:\d+$"):
        provider.cleanup((REQUEST,), CONTEXT)
    assert "raise TypeError(text)" in caplog.text
    assert "aek3" not in caplog.text
    with pytest.raises(PluginCallError, match="owned_resources"):
        provider.owned_resources(CONTEXT)


def test_an_interrupt_is_not_taken_for_a_fault_of_the_plug_in(provider: Provider, cloud: FakeCloud) -> None:
    cloud.fail("cleanup", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        provider.cleanup((REQUEST,), CONTEXT)


def test_an_error_of_the_cloud_passes_as_it_is(provider: Provider, cloud: FakeCloud) -> None:
    error = CloudError(Fault(code="Throttling", message="slow down"))
    cloud.fail("advance", error)
    with pytest.raises(CloudError) as caught:
        provider.advance((REQUEST,), CONTEXT)
    assert caught.value is error


@pytest.mark.parametrize("hook", [hook for hook in CALLS if hook != "provision"])
@pytest.mark.parametrize("wrong", [["x"], ("x",), {"a": 1}], ids=repr)
def test_a_result_of_the_wrong_type_names_distribution_version_and_hook(
    provider: Provider, cloud: FakeCloud, hook: str, wrong: object
) -> None:
    cloud.answer(hook, wrong)
    with pytest.raises(PluginCallError, match="expected") as caught:
        CALLS[hook](provider)
    for part in ("hfcore-fake 1", f"{hook}()", "str" if isinstance(wrong, tuple) else type(wrong).__name__):
        assert part in reason(caught)


def test_a_provision_that_gives_nothing_back_is_the_plug_ins_fault(write: Write) -> None:
    row = write("Good", "@hookimpl\ndef provision(request): return None")
    with pytest.raises(PluginCallError, match=r"provision.* returned NoneType, expected Provisioned"):
        plugins(row).provider("Good").provision(REQUEST, Template(template_id="t"), CONTEXT)


@pytest.mark.parametrize("hook", ["discover_instances", "stop_launching", "cleanup"])
def test_an_answer_that_leaves_a_request_out_is_the_plug_ins_fault(
    provider: Provider, cloud: FakeCloud, hook: str
) -> None:
    cloud.answer(hook, ())
    with pytest.raises(PluginCallError, match=r"answered for \[\], and was asked for \['req-1'\]"):
        CALLS[hook](provider)


def test_an_answer_for_a_request_that_was_not_asked_for_is_the_plug_ins_fault(
    provider: Provider, cloud: FakeCloud
) -> None:
    cloud.answer("cleanup", (Outcome(request_id="req-1", done=True), Outcome(request_id="req-2", done=True)))
    with pytest.raises(PluginCallError, match="req-2"):
        provider.cleanup((REQUEST,), CONTEXT)


def test_what_was_made_for_a_request_that_was_not_asked_for_is_the_plug_ins_fault(
    provider: Provider, cloud: FakeCloud, write: Write
) -> None:
    cloud.answer("advance", (Provisioned(request_id="req-2"),))
    other = plugins(write("Good", "@hookimpl\ndef provision(request): return Provisioned(request_id='req-2')"))
    for made_by, hook in ((provider, "advance"), (other.provider("Good"), "provision")):
        with pytest.raises(PluginCallError, match=r"answered for req-2, and was asked for \['req-1'\]"):
            CALLS[hook](made_by)


RIGHT: dict[str, Any] = {
    "discover_instances": Discovery(request_id="req-1", observed_at=NOW),
    "advance": Provisioned(request_id="req-1"),
    "release_instances": Released(request_id="req-1", ending=frozenset()),
}


@pytest.mark.parametrize(
    ("told", "fields"),
    [
        ("resource_ids has int", {"resource_ids": (1,)}),
        ("instances has str", {"instances": ("i-1",)}),
        ("instances: private_ip is NoneType", {"instances": (replace(INSTANCE, private_ip=None),)}),
        ("faults is NoneType", {"faults": None}),
        ("observed_at has no time zone", {"observed_at": NOW.replace(tzinfo=None)}),
        ("fulfilled is str", {"fulfilled": "1"}),
        ("fulfilled is not finite", {"fulfilled": float("nan")}),
        ("instances: instance_id is empty", {"instances": (replace(INSTANCE, instance_id=""),)}),
        ("ending is list", {"ending": ["i-1"]}),
    ],
)
def test_a_result_whose_field_the_store_could_not_read_back_is_the_plug_ins_fault(
    provider: Provider, cloud: FakeCloud, told: str, fields: dict[str, Any]
) -> None:
    hook, right = next((hook, right) for hook, right in RIGHT.items() if fields.keys() <= {*right.__slots__})
    cloud.answer(hook, (replace(right, **fields),))
    with pytest.raises(PluginCallError, match=f"whose {told}, expected"):
        CALLS[hook](provider)


def test_optional_hooks_that_are_not_there_give_nothing(write: Write) -> None:
    provider = plugins(write("Good")).provider("Good")
    assert provider.advance((REQUEST,), CONTEXT) == ()
    assert provider.reclaimed_instances((), (), CONTEXT) == ()
    assert provider.plan(REQUEST, Template(template_id="t"), CONTEXT) == ()
    assert provider.check(Template(template_id="t"), CONTEXT) == ()


def test_a_call_reaches_the_one_plug_in_that_is_meant() -> None:
    one, two = FakeCloud(), FakeCloud()
    with FakeProvider(one).installed("One") as first, FakeProvider(two).installed("Two", distribution="d2") as second:
        both = plugins(first, second)
        both.provider("One")
        both.provider("Two").cleanup((REQUEST,), CONTEXT)
    assert (len(one.called("cleanup")), len(two.called("cleanup"))) == (0, 1)


# Observers

OBSERVER = """
from hfcore import hookimpl
seen = []

@hookimpl
def on_event(event):
    seen.append(event.name)
"""


def test_observers_are_imported_at_the_first_event_and_see_each(write: Write) -> None:
    row = write("Watch", OBSERVER, alone=True)
    watched = plugins(observers=(row,))
    assert row.module not in sys.modules
    watched.notify(EVENT)
    watched.notify(EVENT)
    assert sys.modules[row.module].seen == ["request.created", "request.created"]


@pytest.mark.parametrize("error", ["ValueError('aek3')", "SystemExit(3)"])
def test_an_observer_that_fails_is_logged_and_stops_no_other(
    write: Write, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    bad = write("Bad", f"from hfcore import hookimpl\n@hookimpl\ndef on_event(event): raise {error}", alone=True)
    good = write("Watch", OBSERVER, alone=True)
    last = write("Zeal", OBSERVER, alone=True)
    with caplog.at_level(logging.WARNING):
        plugins(observers=(good, bad, last)).notify(EVENT)
    assert sys.modules[good.module].seen == ["request.created"]
    assert sys.modules[last.module].seen == ["request.created"]
    (entry,) = [entry.getMessage() for entry in caplog.records]
    assert "Bad" in entry
    assert "request.created" in entry
    assert "aek3" not in entry


@pytest.mark.parametrize("body", ["import no_such_module", "raise SystemExit", "def on_event(:"])
def test_an_observer_that_does_not_load_is_logged_and_stops_no_other(
    write: Write, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    good = write("Watch", OBSERVER, alone=True)
    with caplog.at_level(logging.WARNING):
        plugins(observers=(write("Bad", body, alone=True), good)).notify(EVENT)
    assert sys.modules[good.module].seen == ["request.created"]
    assert "observer Bad of hfcore-bad does not load" in caplog.text


def test_an_observer_without_the_hook_is_told_of_once(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    watched = plugins(observers=(write("Watch", OBSERVER.replace("on_event", "on_evnt"), alone=True),))
    watched.notify(EVENT)
    watched.notify(EVENT)
    assert [entry.getMessage() for entry in caplog.records] == ["observer Watch of hfcore-watch does not load"]


def test_without_observers_an_event_goes_nowhere() -> None:
    plugins().notify(EVENT)
