"""RunInstances and TerminateInstances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.testing.aws.describing import MAX_IDS, by_ids, reservation
from hfcore.testing.aws.instances import end, launch, resolve, shortage
from hfcore.testing.aws.protocol import AwsError, Params
from hfcore.testing.aws.select import at_most
from hfcore.testing.aws.templates import collect_tags

if TYPE_CHECKING:
    from hfcore.testing.aws.instances import Instance
    from hfcore.testing.aws.world import Region

TAGGABLE = {"instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu"}


def run_instances(region: Region, params: Params) -> Params:
    """RunInstances: as many as there is room for up to MaxCount, nothing below MinCount; idempotent in each zone."""
    collect_tags(params.get("TagSpecifications", ()), "instance", TAGGABLE)
    plan = resolve(region, params)
    if "NetworkInterfaces" in plan.params and "SubnetId" in plan.params:
        text = "Network interfaces and an instance-level subnet ID may not be specified on the same request"
        raise AwsError("InvalidParameterCombination", text)
    low, high = params["MinCount"], params["MaxCount"]
    if not 1 <= low <= high:
        raise AwsError("InvalidParameterValue", f"Value ({low}) for parameter minCount is invalid.")
    if params.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
    token = params.get("ClientToken", "")

    def make() -> list[Instance]:
        room = min(region.room(plan), plan.subnet.free)
        if room < low:
            raise shortage(plan)
        return launch(region, plan, min(room, high), token=token)

    made = region.once("RunInstances", params, make, scope=plan.subnet.zone)
    if all(i.state == "terminated" for i in made):
        text = f"The instances of the client token '{token}' have been terminated."
        raise AwsError("IdempotentInstanceTerminated", text)
    return reservation(made)


def terminate_instances(region: Region, params: Params) -> Params:
    """TerminateInstances: one unknown id and nothing ends; protection holds back its whole zone and still raises."""
    ids = params["InstanceIds"]
    at_most(region, MAX_IDS, ids)
    found = by_ids(region, ids)
    protected = [i for i in found if i.plan.params.get("DisableApiTermination") and i.live]
    zones = {i.plan.subnet.zone for i in protected}
    answer: list[Params] = []
    for instance in found:
        if instance.plan.subnet.zone not in zones:
            before = instance.described_state
            end(region, instance)
            states = {"CurrentState": instance.described_state, "PreviousState": before}
            answer.append({"InstanceId": instance.id, **states})
    if protected:
        text = f"The instance '{protected[0].id}' may not be terminated. Modify its 'disableApiTermination' attribute."
        raise AwsError("OperationNotPermitted", text)
    return {"TerminatingInstances": answer}
