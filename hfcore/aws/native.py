"""Own what a template says in AWS's own words: it goes over what hfcore builds, once botocore's model allows it. Pure.

`launchTemplateData` goes over the launch template's data, `apiParameters` over the parameters of the launching call.
Neither may say what hfcore counts, finds and ends machines by: that is refused, with the reason.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from hfcore.aws import tags
from hfcore.config import nearest
from hfcore.models import Problem
from hfcore.withheld import SECRET, concealed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.model import ServiceModel, StructureShape

    from hfcore.models import Template

CREATE_FLEET: Final = "CreateFleet"
_COUNTED = "machineCount says how many, and hfcore counts by it"
_ONCE = "hfcore makes its own, so that nothing is launched twice"
_OWN_TEMPLATE = (
    "hfcore launches from a launch template of its own, which carries its tags: name yours in launchTemplateId"
)
_MARKET = "priceType, percentOnDemand and maxSpotPrice say it"
_DEADLINE = "spotFleetRequestExpiry says it"
_TYPES = "vmTypes says it, or instanceRequirements"
_KEPT = "it could end machines that Host Factory still uses"
_PROTECTED = "hfcore could not end the machines"
_BESIDE = "it could launch machines beside those asked for"
_CONFIGS = "LaunchTemplateConfigs.LaunchTemplateSpecification"
_FLEET = {
    "Type": "fleetType says it",
    "ClientToken": _ONCE,
    "ValidFrom": _DEADLINE,
    "ValidUntil": _DEADLINE,
    "TerminateInstancesWithExpiration": _KEPT,
    "ExcessCapacityTerminationPolicy": _KEPT,
    "ReplaceUnhealthyInstances": _KEPT,
    _CONFIGS: _OWN_TEMPLATE,
}
REFUSED: Final[Mapping[str, Mapping[str, str]]] = {
    "RequestLaunchTemplateData": {
        "InstanceMarketOptions": _MARKET,
        "InstanceType": _TYPES,
        "InstanceRequirements": _TYPES,
        "DisableApiTermination": _PROTECTED,
    },
    "RunInstances": {
        "MinCount": _COUNTED,
        "MaxCount": _COUNTED,
        "ClientToken": _ONCE,
        "DryRun": "nothing would be launched",
        "LaunchTemplate": _OWN_TEMPLATE,
        "InstanceMarketOptions": _MARKET,
        "InstanceType": _TYPES,
        "DisableApiTermination": _PROTECTED,
        "SubnetId": "subnetId says it",
        "NetworkInterfaces": "launchTemplateData.NetworkInterfaces says it, in each of the template's subnets",
        SECRET: "user data travels in launch templates alone: give it as launchTemplateData.UserData",
    },
    CREATE_FLEET: {
        **_FLEET,
        "DryRun": "nothing would be launched",
        "TargetCapacitySpecification": _COUNTED,
        "SpotOptions.InstanceInterruptionBehavior": _KEPT,
        "SpotOptions.MaintenanceStrategies": _BESIDE,
    },
    "RequestSpotFleet": {
        **_FLEET,
        "TargetCapacity": _COUNTED,
        "OnDemandTargetCapacity": _COUNTED,
        "TargetCapacityUnitType": _COUNTED,
        "IamFleetRole": "fleetRole says it",
        "LaunchSpecifications": _OWN_TEMPLATE,
        "InstanceInterruptionBehavior": _KEPT,
        "SpotMaintenanceStrategies": _BESIDE,
    },
    "CreateAutoScalingGroup": {
        "AutoScalingGroupName": "hfcore finds the group by it",
        "MinSize": _COUNTED,
        "MaxSize": _COUNTED,
        "DesiredCapacity": _COUNTED,
        "DesiredCapacityType": _COUNTED,
        "LaunchTemplate": _OWN_TEMPLATE,
        "LaunchConfigurationName": _OWN_TEMPLATE,
        "InstanceId": _OWN_TEMPLATE,
        "MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification": _OWN_TEMPLATE,
        "MixedInstancesPolicy.LaunchTemplate.Overrides.LaunchTemplateSpecification": _OWN_TEMPLATE,
        "MixedInstancesPolicy.InstancesDistribution.OnDemandBaseCapacity": _MARKET,
        "MixedInstancesPolicy.InstancesDistribution.OnDemandPercentageAboveBaseCapacity": _MARKET,
        "VPCZoneIdentifier": "subnetId says it",
        "NewInstancesProtectedFromScaleIn": _KEPT,
        "CapacityRebalance": _KEPT,
        "MaxInstanceLifetime": _KEPT,
        "HealthCheckType": _KEPT,
        "AvailabilityZones": "subnetId says it",
        "DeletionProtection": "hfcore deletes the group once it is empty",
    },
}
"""Members that a template may not say, for each launching operation and for launch template data, with the reason."""

OPERATIONS: Final = tuple(name for name in REFUSED if name != "RequestLaunchTemplateData")
_WITHIN = "SpotFleetRequestConfig"
_INPUTS = {"RequestSpotFleet": "SpotFleetRequestConfigData"}  # the one parameter in which all the others stand
_LONG = re.compile(r", must be one of: .*")


def over(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge native parameters over ours: member by member, lists whole; tags are added, and never replace ours."""
    return {**ours, **{name: _merged(name, ours[name], theirs[name]) for name in theirs if name in ours}} | {
        name: value for name, value in theirs.items() if name not in ours
    }


def _merged(name: str, ours: Any, theirs: Any) -> Any:  # noqa: ANN401 - JSON
    if name == "TagSpecifications":
        kinds = {one["ResourceType"]: one for one in theirs} | {one["ResourceType"]: one for one in ours}
        said = {one["ResourceType"]: tags.read(one.get("Tags")) for one in theirs}
        its = {kind: said.get(kind, {}) | tags.read(one.get("Tags")) for kind, one in kinds.items()}
        return [part for kind in its for part in tags.specifications(its[kind], kind)]
    if name == "Tags":
        return [*ours, *(one for one in theirs if one["Key"] not in tags.read(ours))]
    if name == "LaunchTemplateConfigs":  # ours is one; each of theirs is a set of overrides of it
        rest = {key: value for one in theirs for key, value in one.items() if key != "Overrides"}
        overrides = list(_overrides(theirs))
        return [over(ours[0], rest | ({"Overrides": overrides} if overrides else {}))]
    return over(ours, theirs) if isinstance(ours, dict) and isinstance(theirs, dict) else theirs


def parameters(template: Template, operation: str) -> Mapping[str, Any]:
    """Give a template's `apiParameters` for a launching operation: those under its name, or, flat, all."""
    said = template.api_parameters
    its: Mapping[str, Any] = said.get(operation, {}) if said.keys() & set(OPERATIONS) else said
    within = its.get(_WITHIN) if isinstance(its, dict) and operation in _INPUTS else None
    return {**{name: its[name] for name in its if name != _WITHIN}, **within} if isinstance(within, dict) else its


def problems(template: Template, operation: str) -> Iterator[Problem]:
    """Find what is wrong with a template's native parameters, for an API that launches by `operation`."""
    data, said = template.launch_template_data, template.api_parameters
    yield from judged("launchTemplateData", "RequestLaunchTemplateData", data)
    yield from _user_data(template)
    by_operation = bool(said.keys() & set(OPERATIONS))
    for name, its in said.items() if by_operation else ():
        if name not in OPERATIONS or not isinstance(its, dict):
            message = "stands beside operations, and is none, or holds no parameters"
            yield Problem(field=f"apiParameters.{name}", message=message, hint=f"put it into {operation}")
        elif name != operation:
            yield Problem(field=f"apiParameters.{name}", message=f"can't be honoured: machines come by {operation}")
    its = parameters(template, operation)
    if isinstance(its, dict):
        field = f"apiParameters.{operation}" if by_operation else "apiParameters"
        yield from judged(field, operation, its)
        yield from weights(field, template, its)


def judged(field: str, operation: str, said: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what of native parameters is refused, or not known to the service's model.

    Args:
        field: The field of the template, as files spell it.
        operation: The launching operation, or `RequestLaunchTemplateData`.
        said: What the template says under it.
    """
    if not said:  # botocore and its models take longer to load than a whole call may
        return
    refused = {path: why for path, why in REFUSED[operation].items() if _says(said, path.split("."))}
    yield from (Problem(field=f"{field}.{path}", message=f"can't be set: {why}") for path, why in refused.items())
    shape = input_shape(operation)
    for name, value in said.items():
        if name in refused:
            continue
        if name not in shape.members:
            message = f"is no member of {shape.name}"
            yield Problem(field=f"{field}.{name}", message=message, hint=nearest(name, shape.members))
        else:
            wrong = [*unknown(shape.members[name], value, name)] or [*_untagged(name, value)]
            yield from (Problem(field=f"{field}.{name}", message=text) for text in wrong)


def _untagged(name: str, value: list[dict[str, Any]]) -> Iterator[str]:
    """Find tags without what the model does not ask for, and ours are merged by."""
    if name == "TagSpecifications" and not all(
        one.get("ResourceType") and all(tag.get("Key") for tag in one.get("Tags", ())) for one in value
    ):
        yield "needs a ResourceType in each part, and a Key in each tag"


def _says(said: object, path: list[str]) -> bool:
    if isinstance(said, list):
        return any(_says(one, path) for one in said)
    if not isinstance(said, dict) or path[0] not in said:
        return False
    return len(path) == 1 or _says(said[path[0]], path[1:])


def weights(field: str, template: Template, said: Mapping[str, Any]) -> Iterator[Problem]:
    """Find overrides that weigh a type otherwise than the template does, by which hfcore counts units."""
    own = {**template.vm_types_on_demand, **template.vm_types}
    for one in _overrides(said):
        kind, weight = one.get("InstanceType", ""), one.get("WeightedCapacity", 1)
        if str(weight) not in {str(own.get(kind, 1)), f"{own.get(kind, 1)}.0"}:
            message = f"{kind or 'instance requirements'} of weight {weight}: hfcore counts it as {own.get(kind, 1)}"
            yield Problem(field=f"{field}.Overrides", message=message, hint="give the weight in vmTypes")


def _overrides(said: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(said, list):
        for one in said:
            yield from _overrides(one)
    elif isinstance(said, dict):
        for name, value in said.items():
            if name == "Overrides" and isinstance(value, list):
                yield from (one for one in value if isinstance(one, dict))
            else:
                yield from _overrides(value)


def _user_data(template: Template) -> Iterator[Problem]:
    text = template.launch_template_data.get(SECRET)
    if text is None:
        return
    field = f"launchTemplateData.{SECRET}"
    if template.user_data_script:
        yield Problem(field=field, message="is given beside userDataScript", hint="keep one of the two")
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        yield Problem(field=field, message="must be text in Base64")


@cache
def model(service: str) -> ServiceModel:
    """Give botocore's own model of a service."""
    from botocore.session import get_session

    return get_session().get_service_model(service)


def input_shape(operation: str) -> StructureShape:
    """Give the shape of a launching operation's parameters, or of launch template data."""
    service = model("autoscaling" if operation == "CreateAutoScalingGroup" else "ec2")
    if operation not in OPERATIONS or operation in _INPUTS:
        found: Any = service.shape_for(_INPUTS.get(operation, operation))
    else:
        found = service.operation_model(operation).input_shape
    its: StructureShape = found
    return its


def requirements(template: Template, service: str, shape: str) -> Iterator[Problem]:
    """Find what of a template's `instanceRequirements` a service's shape of them does not know."""
    if said := template.instance_requirements:
        wrong = unknown(model(service).shape_for(shape), said)
        yield from (Problem(field="instanceRequirements", message=text) for text in wrong)


def unknown(shape: Any, value: Any, name: str = "") -> Iterator[str]:  # noqa: ANN401 - botocore's shapes, and JSON
    """Say what of a value a shape does not know: members, types, words of an enumeration. User data is not told."""
    from botocore.validate import ParamValidator

    shown = concealed({name: value})[name]
    report = ParamValidator().validate(shown, shape).generate_report()
    if report:
        yield from (_LONG.sub("", line) for line in report.splitlines())
    else:
        yield from _unknown_words(shape, shown)


def _unknown_words(shape: Any, value: Any) -> Iterator[str]:  # noqa: ANN401 - the same
    """Find words that stand in no enumeration; instance types may be younger than botocore."""
    if shape.type_name == "structure":
        for name, each in value.items():
            yield from _unknown_words(shape.members[name], each)
    elif shape.type_name == "list":
        for each in value:
            yield from _unknown_words(shape.member, each)
    elif shape.type_name == "string" and shape.name != "InstanceType" and value not in (shape.enum or (value,)):
        yield f"{value!r} is none of {shape.name}'s: {', '.join(shape.enum)}"
