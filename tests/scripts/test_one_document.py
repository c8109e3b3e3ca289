"""The one test that runs every kind of call, good and bad, and checks that each prints one JSON document alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.scripts.conftest import Ran, Site

UNKNOWN = "req-00000000-0000-4000-8000-000000000000"
QUICK = {"HFCORE_CALL_TIMEOUT_SEC": "30"}
TEMPLATES = ("OnDemand-Small", "Group", "Fleet-Instant", "Fleet-Request", "Fleet-Maintain", "Spot-Plain")


def test_stdout_is_one_json_document_and_stderr_is_empty_on_success_whatever_is_called(  # noqa: PLR0915 - the list
    site: Site, closed_port: dict[str, str]
) -> None:
    """Each `run` checks the streams, the exit code and the message by itself; here it is that all cases are run."""
    site.write_templates(Mystery={"providerApi": "Lambda"}, Wrong={"vmTyp": "m5.large", "imageId": 7})
    seen: list[tuple[str, int, Ran]] = []

    def call(expected: int, name: str, verb: str, document: object = None, **more: Any) -> Ran:  # noqa: ANN401 - those of run
        ran = site.run(verb, document, **more)
        seen.append((name, expected, ran))
        return ran

    def wanted(template_id: str, count: object = 1) -> dict[str, Any]:
        return {"template": {"templateId": template_id, "machineCount": count}}

    # Everything goes well.
    call(0, "templates without input", "getAvailableTemplates")
    call(0, "templates", "getAvailableTemplates", {})
    made = [call(0, f"request of {one}", "requestMachines", wanted(one)) for one in (*TEMPLATES, "Mystery")]
    requests = [ran.answer["requestId"] for ran in made]
    asked = {"requests": [{"requestId": one} for one in requests]}
    call(0, "status at once", "getRequestStatus", asked)
    site.wait_for_running(len(requests))
    answer = call(0, "status", "getRequestStatus", asked).answer["requests"]
    machines = [one["machines"][0] for one in answer]
    call(0, "status of an object", "getRequestStatus", {"requests": asked["requests"][0]})
    call(0, "status by stdin", "getRequestStatus", stdin=json.dumps(asked))
    call(0, "status by data", "getRequestStatus", words=("--data", json.dumps(asked)))
    call(0, "status by hand", "getRequestStatus", words=tuple(requests))
    call(0, "status of an unknown id", "getRequestStatus", {"requests": [{"requestId": UNKNOWN}]})
    call(0, "status of nothing", "getRequestStatus", {"requests": []})
    call(0, "reclaims", "getReturnRequests", {"machines": [{"name": one["name"]} for one in machines]})
    call(0, "reclaims without input", "getReturnRequests")

    # The input is wrong.
    for name, document in (
        ("unknown template", wanted("Nowhere")),
        ("wrong template", wanted("Wrong")),
        ("count 0", wanted("Group", 0)),
        ("negative count", wanted("Group", -2)),
        ("text as count", wanted("Group", "two")),
        ("over maxNumber", wanted("OnDemand-Small", 21)),
        ("an empty object", {}),
        ("a list", []),
    ):
        call(1, name, "requestMachines", document)
    call(1, "no JSON", "requestMachines", text="two machines, please")
    call(1, "an empty file", "requestMachines", text="")
    call(1, "no file", "getRequestStatus", words=("-f", "/nowhere"))
    call(1, "no input", "requestReturnMachines")
    call(1, "an unknown option", "getRequestStatus", words=("--nothing-of-this-name",))

    # AWS or the plug-ins are in the way.
    site.aws.faults.add("error:UnauthorizedOperation")
    call(0, "status while AWS refuses", "getRequestStatus", asked, env=QUICK)
    call(0, "reclaims while AWS refuses", "getReturnRequests", {}, env=QUICK)
    call(1, "request while AWS refuses", "requestMachines", wanted("Group"), env=QUICK)
    site.aws.faults.clear()
    call(0, "status while AWS can't be reached", "getRequestStatus", asked, env=closed_port | QUICK)
    call(1, "request while AWS can't be reached", "requestMachines", wanted("Group"), env=closed_port | QUICK)
    call(1, "request of a disabled API", "requestMachines", wanted("Group"), env={"HFCORE_DISABLED_PLUGINS": "ASG"})
    call(1, "request without fallback", "requestMachines", wanted("Mystery"), env={"HFCORE_FALLBACK": "error"})
    call(1, "a wrong setting", "getAvailableTemplates", env={"HFCORE_FALLBACK": "perhaps"})
    call(1, "no conf folder", "getAvailableTemplates", env={"HF_PROVIDER_CONFDIR": "/nowhere"})
    call(0, "a log that can't be written", "getAvailableTemplates", env={"HF_PROVIDER_LOGDIR": "/proc/nowhere"})

    # Machines go back; then the store is lost.
    back = {"machines": [{"machineId": one["machineId"]} for one in machines[1:]]}
    returned = call(0, "return", "requestReturnMachines", back).answer["requestId"]
    site.aws.advance(60)
    call(0, "status of a return", "getRequestStatus", {"requests": {"requestId": returned}})
    call(0, "return of an object", "requestReturnMachines", {"machines": {"name": machines[0]["name"]}})
    call(0, "return of an unknown machine", "requestReturnMachines", {"machines": {"name": "nobody"}})
    call(0, "return of nothing", "requestReturnMachines", {"machines": []})
    (site.data / "storage.json").write_text("{")
    for verb, document in (
        ("getAvailableTemplates", {}),
        ("requestMachines", wanted("Group")),
        ("getRequestStatus", asked),
        ("requestReturnMachines", back),
        ("getReturnRequests", {}),
    ):
        call(1, f"{verb} on a damaged store", verb, document)

    assert [(name, ran.code) for name, _, ran in seen] == [(name, code) for name, code, _ in seen]
    assert len(seen) > 45
