"""The scripts as LSF's resource connector calls them: nothing but its own variables names the folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.scripts.conftest import Site


def test_the_scripts_serve_lsf_by_its_own_variables(site: Site) -> None:
    site.lsf = True
    environment = site.environment()
    assert not [name for name in environment if name.startswith("HF")]
    asked = {"template": {"templateId": "OnDemand-Small", "machineCount": 1}, "rc_account": "default", "userData": {}}
    ran = site.run("requestMachines", asked)
    assert ran.code == 0, ran
    site.wait_for_running(1)
    (machine,) = site.poll_until(ran.answer["requestId"])["machines"]
    assert (machine["rcAccount"], machine["template"]) == ("default", "OnDemand-Small")
    assert (site.work.parent / environment["PROVIDER_NAME"] / "data" / "storage.json").exists()
    ran = site.run("getRequestStatus", {"requests": []})
    assert (ran.code, "Invalid input file." in ran.message) == (1, True)
