"""Own the frozen values that cross hfcore's boundaries: requests, machines, templates, and what plug-ins give back.

Nothing here knows AWS, files or JSON. Times are timezone-aware UTC `datetime`s, durations are seconds, capacity is in
units: a machine of weight 1 is one unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from hfcore.hookvalues import *  # noqa: F403 - all of it stands here too

EMPTY: Mapping[str, Any] = MappingProxyType({})
"""An empty mapping for the default of an argument; a dataclass needs `field(default_factory=dict)`."""

PriceType = Literal["ondemand", "spot", "heterogeneous"]
FleetType = Literal["instant", "request", "maintain"]
VolumeType = Literal["gp2", "gp3", "io1", "io2", "standard"]
AllocationStrategy = Literal[
    "capacityOptimized",
    "capacityOptimizedPrioritized",
    "diversified",
    "lowestPrice",
    "priceCapacityOptimized",
]
OnDemandStrategy = Literal["lowestPrice", "prioritized"]
Tenancy = Literal["default", "dedicated", "host"]
InterfaceType = Literal["efa", "interface"]
CheckStatus = Literal["ok", "warning", "error", "not checked"]


class RequestKind(StrEnum):
    """What Host Factory asked for: machines (`req-…`), or that machines go (`ret-…`)."""

    CREATE = "create"
    RETURN = "return"


class RequestStatus(StrEnum):
    """Where a request stands. `lifecycle` alone moves it; the last four are final."""

    CREATING = "creating"  # stored; its resource is being asked for
    IN_PROGRESS = "in_progress"  # the resource exists, or the return has been taken on
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"  # ended short of its target, with what there is
    FAILED = "failed"  # nothing was made
    CANCELLED = "cancelled"  # by a person


class MachineStatus(StrEnum):
    """A machine's state, in the words that Host Factory and EC2 share."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


class FaultKind(StrEnum):
    """What a fault means for what to do next, whatever the cloud calls it."""

    CAPACITY = "capacity"  # the cloud has none of it now; another pool or a later time may
    THROTTLE = "throttle"  # asked too fast
    TRANSIENT = "transient"  # the cloud or the way to it failed; asking again may help
    PERMISSION = "permission"  # the credentials may not do it
    INVALID = "invalid"  # the request itself is wrong
    QUOTA = "quota"  # a limit of the account
    GONE = "gone"  # the thing named no longer exists
    UNKNOWN = "unknown"


RETRYABLE = frozenset({FaultKind.CAPACITY, FaultKind.THROTTLE, FaultKind.TRANSIENT})


class Severity(StrEnum):
    """How much a problem in a template matters."""

    ERROR = "error"  # the request would mean something else than asked: the template is not used
    WARNING = "warning"  # the field is unknown, or has no effect here


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that went wrong in the cloud, as data that stands beside what went right.

    Args:
        code: The cloud's own error code, such as `InsufficientInstanceCapacity`.
        message: A sentence for people; holds no secret and no user data.
        kind: What the code means for what to do next.
        subject: What it happened to (a pool, an instance, a resource); empty for the request as a whole.
        hint: What the code means and what to do now, for people; follows from the code.
    """

    code: str
    message: str
    kind: FaultKind = FaultKind.UNKNOWN
    subject: str = ""
    hint: str = field(default="", compare=False)

    @property
    def retryable(self) -> bool:
        """Whether the same thing, asked for later, may go well."""
        return self.kind in RETRYABLE

    def __str__(self) -> str:
        where = f" ({self.subject})" if self.subject else ""
        what_now = f" ({self.hint})" if self.hint else ""
        return f"{self.code}{where}: {self.message}{what_now}"


def told_once(faults: Iterable[Fault]) -> tuple[str, ...]:
    """Give faults in words, of those with the same hint the last one with it. Pure."""
    kept = tuple(faults)
    last = {fault.hint: place for place, fault in enumerate(kept)}
    return tuple(
        str(fault if last[fault.hint] == place else replace(fault, hint="")) for place, fault in enumerate(kept)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or has no effect, in a template.

    Args:
        field: The field as the file spells it; empty for the template as a whole.
        message: What is wrong.
        severity: Whether the template can be used all the same.
        hint: What to do about it.
        template_id: The template; filled in by the core where a plug-in leaves it empty.
        source: The file; filled in by the core.
        passing: Whether it may be another one at the next call, so that it must not be kept.
    """

    field: str
    message: str
    severity: Severity = Severity.ERROR
    hint: str = ""
    template_id: str = ""
    source: str = ""
    passing: bool = False

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.source, self.template_id, self.field) if part)
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One kind of machine that Host Factory may ask for.

    The fields are those of IBM's AWS plug-in in snake case (Host Factory, `awsprov_templates.json` reference) and of
    LSF's resource connector, beside ours. What a file leaves out is `None` or empty. Two are secret in whole or in
    part: `user_data`, and `UserData` in `launch_template_data`; neither is ever stored (`without_user_data`).

    A field that is not told of here is told of by its name in files (`hfcore.templatefields`, docs/fields.md).

    Args:
        template_id: At most 64 of `0-9A-Za-z-_`.
        max_number: Most units alive at once; -1 is no limit.
        attributes: Host Factory's attributes, name to `(type, value)`, such as `("Numeric", "4")`.
        provider_api: The entry-point name of the plug-in, such as `EC2Fleet`.
        image_id: `ami-…`, or the path of an SSM parameter that holds one.
        vm_types: Instance type to weight (units); `vmType` gives one of weight 1.
        vm_types_on_demand: The same for the on-demand part, where it differs.
        vm_types_priority: Instance type to priority; the lowest number is tried first.
        max_spot_price: US dollars for one unit and hour.
        spot_fleet_request_expiry: Minutes until the request's deadline.
        percent_on_demand: Share of the target bought on demand, 0 to 100.
        pools_count: Spot pools to use with `lowestPrice`.
        root_device_volume_size: GiB.
        instance_tags: Tags for each instance, beside hfcore's own.
        instance_profile: Name or ARN.
        user_data_script: Path of the start-up script.
        fleet_role: ARN of the role that Spot Fleet works with.
        efa_count: Elastic Fabric Adapters of each machine, one on each network card.
        user_data: `k=v;k=v`, exported to the start-up script.
        priority: LSF's own; told to the caller, without effect in the cloud.
        host_id: The Dedicated Host to launch on, or by `host_resource_group_arn` a group of such.
        capacity_reservation: `cr-…`, the ARN of a group of reservations, or a preference such as `open`.
        ec2_fleet_config: Path of a JSON file of CreateFleet's parameters.
        instance_requirements: What machines must have, in place of `vm_types`, as EC2's `InstanceRequirements`.
        launch_template_data: Goes over the launch template's data last, as EC2's `RequestLaunchTemplateData`.
        api_parameters: Goes over the launching call's parameters last: by operation, or flat.
        withheld: Hash of the user data that a stored template lacks; empty in one that was read from its file.
        extra: Fields of the file that hfcore does not know. Those that the plug-in claims by its `template_fields` are
            stored with each request, so that no secret may stand in them; a request has no others.
    """

    template_id: str
    max_number: int = -1
    attributes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    provider_api: str | None = None
    fleet_type: FleetType | None = None
    image_id: str | None = None
    subnet_id: tuple[str, ...] = ()
    vm_types: Mapping[str, int] = field(default_factory=dict)
    vm_types_on_demand: Mapping[str, int] = field(default_factory=dict)
    vm_types_priority: Mapping[str, int] = field(default_factory=dict)
    price_type: PriceType | None = None
    root_device_volume_size: int | None = None
    volume_type: VolumeType | None = None
    iops: int | None = None
    instance_tags: Mapping[str, str] = field(default_factory=dict)
    key_name: str | None = None
    security_group_ids: tuple[str, ...] = ()
    fleet_role: str | None = None
    max_spot_price: float | None = None
    spot_fleet_request_expiry: int | None = None
    allocation_strategy: AllocationStrategy | None = None
    allocation_strategy_on_demand: OnDemandStrategy | None = None
    percent_on_demand: int | None = None
    pools_count: int | None = None
    instance_profile: str | None = None
    user_data_script: str | None = None
    launch_template_id: str | None = None
    launch_template_version: str | None = None
    ebs_optimized: bool | None = None
    placement_group_name: str | None = None
    placement_partition: int | None = None
    tenancy: Tenancy | None = None
    host_id: str | None = None
    host_resource_group_arn: str | None = None
    interface_type: InterfaceType | None = None
    efa_count: int | None = None
    user_data: str | None = field(default=None, repr=False)
    priority: int | None = None
    capacity_reservation: str | None = None
    ec2_fleet_config: str | None = None
    instance_requirements: Mapping[str, Any] = field(default_factory=dict)
    launch_template_data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    api_parameters: Mapping[str, Any] = field(default_factory=dict)
    withheld: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of Host Factory's, as it is stored.

    In `discover_instances` a plug-in is handed requests whose `machine_ids` hold only the machines not yet terminal. A
    request of kind `return` then asks about exactly these machines, of which the plug-in's API made each one.

    Args:
        request_id: `req-<uuid>` for machines asked for, `ret-<uuid>` for a return.
        kind: Whether machines are asked for, or given back.
        status: Where it stands; `lifecycle` alone moves it.
        message: A sentence for people on where it stands.
        template_id: The template that was asked for; empty for a return.
        target: Units asked for; for a return, machines.
        provider_api: The API that serves the request for life; empty for a return, which may span several.
        cloud: The plug-in's cloud, such as `aws`.
        distribution: The distribution whose plug-in serves the request, and its version.
        version: The version of that distribution.
        template: Snapshot of the template; holds a path, but never the content, of user data.
        resource_ids: What was created: group names, fleet ids, reservation ids.
        machine_ids: The instance ids known to belong to it.
        region: Region, endpoint and account in which the request lives for life.
        endpoint: Its endpoint; empty is the cloud's own.
        account_id: Its account; empty while that is not known.
        created_at: When it was stored first, UTC.
        deadline: After it nothing more is launched; a return that is open still is looked after by every call.
        ended_at: When it ended, UTC.
        provider_data: What the plug-in wants to see again, as JSON values.
        refills: Whether the resource replaces a machine that dies, until it is frozen.
        frozen: `stop_launching` has been done.
        cleaned: `cleanup` has been done.
        faults: What the cloud gave as reasons for a shortfall, newest last.
        process: Who is carrying it out for the first time: host, boot id, pid and the pid's start time; empty once
            that is over.
        unasked: Nobody has asked about it yet: its creator may have died before it could tell its id to anyone.
        vanished_at: When all its live machines were first missing from an answer; `None` while they are seen.
        unwanted: Machines that are to be ended because they are late, by instance id with the reason, until they are
            ending.
        delivered: Units that it had when it ended, as far as that was seen.
    """

    request_id: str
    kind: RequestKind = RequestKind.CREATE
    status: RequestStatus
    message: str = ""
    template_id: str = ""
    target: int = 0
    provider_api: str = ""
    cloud: str = ""
    distribution: str = ""
    version: str = ""
    template: Template | None = None
    resource_ids: tuple[str, ...] = ()
    machine_ids: tuple[str, ...] = ()
    region: str = ""
    endpoint: str = ""
    account_id: str = ""
    created_at: datetime
    deadline: datetime | None = None
    ended_at: datetime | None = None
    provider_data: Mapping[str, Any] = field(default_factory=dict)
    refills: bool = False
    frozen: bool = False
    cleaned: bool = False
    faults: tuple[Fault, ...] = ()
    process: str = ""
    unasked: bool = False
    vanished_at: datetime | None = None
    unwanted: Mapping[str, str] = field(default_factory=dict)
    delivered: float | None = None


@dataclass(frozen=True, kw_only=True)  # no slots: see `hfcore.records`, which fills it
class Machine:
    """One machine, as it is stored.

    Args:
        instance_id: The cloud's id of it, unique for ever.
        request_id: The request that made it.
        resource_id: The group, fleet or reservation that it came from.
        status: Its state as it was last seen.
        name: The host name by which it joins the cluster; names may repeat, ids do not.
        private_ip: Its address within the network.
        public_ip: Its address outside, if it has one.
        private_dns: Its name within the network.
        public_dns: Its name outside, if it has one.
        launch_time: When the cloud launched it.
        instance_type: The cloud's word for its size.
        price_type: `ondemand` or `spot`.
        cores: Cores of its processors, with so many threads each; 0 while that is not known.
        threads: Threads of each core; 0 while that is not known.
        zone: The availability zone that it is in.
        weight: Units that it counts for.
        observed_at: Start of the cloud call that saw it so; the newer observation wins.
        listed: Whether the cloud has listed it since its creation; absent afterwards means gone.
        return_id: The return that it belongs to, once Host Factory has given it back.
        discarded: Whether it was ended here, as late or pending for too long: Host Factory never had it.
        disowned: Whether the last look has shown it without our owner tag: it is not ours to end.
        notice: What a message of the cloud's has announced of it.
        message: Why it is not running, where the cloud says.
    """

    instance_id: str
    request_id: str
    resource_id: str = ""
    status: MachineStatus
    name: str = ""
    private_ip: str = ""
    public_ip: str = ""
    private_dns: str = ""
    public_dns: str = ""
    launch_time: datetime | None = None
    instance_type: str = ""
    price_type: str = ""
    cores: int = 0
    threads: int = 0
    zone: str = ""
    weight: float = 1.0
    observed_at: datetime
    listed: bool = False
    return_id: str = ""
    discarded: bool = False
    disowned: bool = False
    notice: Reclaim | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """A machine that the cloud is taking, or has taken, back.

    Args:
        instance_id: The machine.
        code: The cloud's own word for it, such as `instance-terminated-no-capacity`.
        message: What the cloud says, in a sentence.
        at: When the machine stops; `None` if it is gone already or the cloud does not say.
        status: The machine's state as it was seen; `None` if the cloud does not know it, which is still to be made sure
            of; a message names none unless it is about that.
    """

    instance_id: str
    code: str
    message: str
    at: datetime | None = None
    status: MachineStatus | None = None


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class or a value
    """Give a value that goes through hooks; they are made when the first of them is asked for."""
    if name.startswith("_"):  # Python looks for some in every module
        raise AttributeError(name)
    from hfcore import hookvalues

    return getattr(hookvalues, name)
