"""Own the frozen values that hooks take and give, beside what is stored. They are used as part of `hfcore.models`.

They stand apart, because a call that asks no plug-in does without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

# The contract suite looks the types of the values up: they are there at run time.
from hfcore.models import (
    CheckStatus,
    Fault,
    Machine,
    MachineStatus,
    Reclaim,
    Request,
    Template,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


__all__ = [
    "Check",
    "Discovery",
    "Event",
    "Found",
    "Instance",
    "MachineType",
    "Notice",
    "Offers",
    "Outcome",
    "OwnedResource",
    "PlannedCall",
    "ProviderInfo",
    "Provisioned",
    "Release",
    "Released",
    "Subnet",
    "SubnetsWanted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance as a cloud shows it, in words that no cloud owns.

    Args:
        instance_id: The cloud's id, unique for ever.
        resource_id: The group, fleet or reservation that it came from; empty if there is none.
        status: Its state. What runs must have `private_dns`, `private_ip` and `launch_time`: Host Factory is told them.
        private_ip: Its address within the network.
        public_ip: Its address outside, if it has one.
        private_dns: Its name within the network.
        public_dns: Its name outside, if it has one.
        launch_time: When the cloud launched it, UTC.
        instance_type: The cloud's word for its size.
        price_type: `ondemand` or `spot`; empty where there is no such choice.
        cores: Cores of its processors; 0 where that is not told.
        threads: Threads of each core; 0 where that is not told.
        zone: The availability zone that it is in.
        weight: Units that it counts for.
        tags: All its tags.
        listed: False where only the answer to its creation names it, without state and addresses.
        message: The cloud's reason for its state, if it gives one.
    """

    instance_id: str
    resource_id: str = ""
    status: MachineStatus = MachineStatus.PENDING
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
    tags: Mapping[str, str] = field(default_factory=dict)
    listed: bool = True
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What `provision` or `advance` made: instances and faults side by side.

    Args:
        request_id: The request that this answers for.
        resource_ids: All resources of the request so far.
        instances: Instances already known.
        faults: What went wrong beside it.
        provider_data: Replaces the request's `provider_data`.
        refills: Whether the resource replaces a machine that dies.
        final: True if nothing more can come of it: with no instance the request has failed.
        untidy: Whether `cleanup` has something to remove of a request that has failed so.
        account_id: The account in which it was made, if the answer tells.
    """

    request_id: str
    resource_ids: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    faults: tuple[Fault, ...] = ()
    provider_data: Mapping[str, Any] = field(default_factory=dict)
    refills: bool = False
    final: bool = False
    untidy: bool = False
    account_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What the cloud shows behind one request.

    Args:
        request_id: The request that this answers for.
        instances: Every instance seen, those that are ending or gone included.
        fulfilled: Units that are running now; what was returned before is added by the core.
        final: True if nothing more will come by itself.
        faults: Reasons for a shortfall, newest last.
        observed_at: Start of the earliest cloud call behind this answer.
        thorough: True if a machine that is absent here was asked for and is not known to the cloud; False leaves
            absent machines as they are, because the answer can't tell.
        account_id: The account that answered, if the answer tells.
        stands: Whether the request's own resource is shown: it lives in the account that has answered.
        disowned: Ids asked for that are there without our owner tag: they are not ours to end.
        message: A sentence for people on how this was found out, where it is not the usual way.
    """

    request_id: str
    instances: tuple[Instance, ...] = ()
    fulfilled: float = 0.0
    final: bool = False
    faults: tuple[Fault, ...] = ()
    observed_at: datetime
    thorough: bool = True
    account_id: str = ""
    stands: bool = False
    disowned: frozenset[str] = frozenset()
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of `stop_launching` or `cleanup` for one request.

    Args:
        request_id: The request that this answers for.
        done: The cloud has confirmed it, or there was nothing to do; False is tried again later.
        faults: Why it is not done.
    """

    request_id: str
    done: bool
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Machines of one request that are to go: exactly these.

    Args:
        request: The request that made them.
        machines: The machines to end.
        return_id: The return that asks for it.
    """

    request: Request
    machines: tuple[Machine, ...]
    return_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of one `Release`.

    Args:
        request_id: The request that this answers for.
        ending: Instance ids that are ending, or are gone already.
        faults: Instance id to the reason why it could not be ended; it is tried again later.
    """

    request_id: str
    ending: frozenset[str] = frozenset()
    faults: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message that the cloud has sent about what it takes back.

    Args:
        receipt: By which the cloud forgets the message.
        reclaim: What it announces; `None` for one that announces nothing, or that can't be read.
    """

    receipt: str
    reclaim: Reclaim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the cloud shows of an instance that no record names.

    Args:
        instance_id: Its id; empty where no instance has the host name.
        host_name: The host name by which it was looked for, if it was.
        known: Whether the cloud knows the id, or the name.
        ours: Whether it carries our owner tag.
        instance: The instance, if it is ours.
        request_id: The request that made it, by its tags.
        template: What its tags and its resource tell of that request's template; a template id may be missing.
        provider_api: What launched it.
        refills: Whether its resource replaces a machine that dies.
        account_id: The account that answered, if the answer tells.
    """

    instance_id: str = ""
    host_name: str = ""
    known: bool = False
    ours: bool = False
    instance: Instance | None = None
    request_id: str = ""
    template: Template | None = None
    provider_api: str = ""
    refills: bool = False
    account_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetsWanted:
    """Which subnets are looked for.

    Args:
        network: The network (AWS: VPC) that they are in; empty for any.
        tags: Tags that they have.
    """

    network: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet in which machines can be launched.

    Args:
        subnet_id: The cloud's id of it.
        network: The network (AWS: VPC) that it is part of.
        zone: The availability zone that it is in.
    """

    subnet_id: str
    network: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineType:
    """A type of machine that a cloud offers.

    Args:
        name: The type, as `vmTypes` names it.
        cores: Cores of its processors: with two threads each, half of what a cloud may call processors.
        memory_mib: Its memory in MiB.
        architecture: Of its processors, in the cloud's word, such as `x86_64`.
    """

    name: str
    cores: int
    memory_mib: int
    architecture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What a cloud offers to make templates of.

    Args:
        types: The types that were asked about.
        subnets: The subnets that were looked for.
    """

    types: tuple[MachineType, ...] = ()
    subnets: tuple[Subnet, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedResource:
    """Something in the cloud that carries our owner tag.

    Args:
        kind: `instance`, `fleet`, `spot-fleet`, `group`, `launch-template`, or a plug-in's own word.
        resource_id: The cloud's id or name of it.
        request_id: The request of its tag; empty where several share it.
        template_id: The template of its tag.
        form: What sort of its kind it is, such as the type of an EC2 fleet.
        status: The cloud's word for its state.
        created_at: When it was made, UTC. Without it reconcile never judges the resource, and it stands for ever.
        account_id: The account in which it is; empty if the answer does not tell.
        provider: The name of the provider instance that has made it; empty if that is not known.
        launcher: Id of the fleet or group that has launched it, by the cloud's own word.
        launch_templates: Names and ids of the launch templates that it launches from, or that it is.
    """

    kind: str
    resource_id: str
    request_id: str = ""
    template_id: str = ""
    form: str = ""
    status: str = ""
    created_at: datetime | None = None
    account_id: str = ""
    provider: str = ""
    launcher: str = ""
    launch_templates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """One cloud call that `provision` would make, unsent; user data is left out.

    Args:
        service: The cloud's service, such as `ec2`.
        operation: The operation, such as `RunInstances`.
        parameters: The call's parameters, as JSON values.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked, for `hfcore doctor` or `hfcore plugins check`.

    Args:
        name: What was checked.
        status: `ok`, `warning`, `error`, or `not checked` with the reason in `message`.
        message: What was found.
        hint: What to do, where something is to be done.
    """

    name: str
    status: CheckStatus
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """What a plug-in says of itself.

    Args:
        name: The provider API, as the entry point spells it.
        hook_version: The version of `hfcore.hookspecs` that it was written for.
        summary: One sentence for `hfcore plugins list`.
        cloud: The cloud whose clients it uses (`aws`); requests of one cloud can be found again by its other plug-ins.
        iam_actions: Permissions that it needs, in the cloud's spelling.
        operations: Cloud operations that it calls, as `service:Operation`; with AWS, those that it has paginators for
            must be among them, and others take longer.
        template_fields: Template fields (as files spell them) that it honours, its own ones included. What else a
            template sets of hfcore's fields is warned of; where none is named, nothing is.
        without_effect: Template fields that do nothing on this API, each with the reason: a warning.
        refused_fields: Template fields that this API can't honour, each with the reason: an error, as the request would
            mean something else than asked.
        call_budgets: What is measured to its most cloud calls, in words, for people and for the contract suite: lines
            that begin with `request`, `status`, `freeze` or `return`, of calls such as `1 Launch`, or `1 Launch for
            each request`. What no line names is not called.
    """

    name: str
    hook_version: int
    summary: str
    cloud: str = ""
    iam_actions: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    template_fields: tuple[str, ...] = ()
    without_effect: Mapping[str, str] = field(default_factory=dict)
    refused_fields: Mapping[str, str] = field(default_factory=dict)
    call_budgets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for observers.

    Args:
        name: `request.created`, `return.created`, and, from the poll that sees the end, `request.ended` and
            `return.ended`.
        at: When it happened, UTC.
        request_id: The request or return that it happened to.
        detail: JSON values; no secrets.
    """

    name: str
    at: datetime
    request_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)
