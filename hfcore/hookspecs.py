"""The plug-in API, whole. A plug-in is a module of functions of these names, marked with `hfcore.hookimpl`.

The module is the target of an entry point in group `hfcore.providers`; the entry point's name is the provider API that
templates name in `providerApi`. A function takes only those of the arguments that it needs. Every result is a frozen
value from `hfcore.models`, or a tuple of such. A hook raises `hfcore.errors.CloudError` when a whole call has failed;
partial success is data: instances and faults side by side. Anything else that it raises is reported as the plug-in's
own fault, by its type and line, without its text.

What the words mean:

- `hfcore.models` has every value here, and says of each field what it is. `hfcore.context` has `Context`, its journal,
  `launch_once` and `noted`; `hfcore.tags` our tags; `hfcore.errors` what is raised. Times know their zone, UTC.
- A request is for **units** (`request.target`). `template.vm_types` gives each type the units that one such machine
  counts for, its weight; of one type `ceil(target / weight)` machines are launched, each with that `Instance.weight`.
- A request **completes** once `Discovery.fulfilled`, the units that run, has come to its target and nothing of it is
  pending. With less it ends at its deadline, or at once if `final` says that no more comes by itself.
- A `MachineStatus` is PENDING, RUNNING, STOPPING, STOPPED, SHUTTING_DOWN or TERMINATED. What only the answer to its
  launch names is `Instance(instance_id=…, weight=…, listed=False)`: pending, until a look shows it. Where an instance
  has them, Host Factory is also told its `instance_type`, `price_type` (`ondemand`, `spot`), `public_ip` and
  `message`.
- What a launch makes **beside machines**, such as a group, is named in `Provisioned.resource_ids`. Only a request that
  has named something is stopped (`stop_launching`; `request.frozen` from then on) and, empty, removed (`cleanup`).
  One that replaces by itself what dies in it has `refills=True`, and is not `final` while it may still fill up.
- **Fewer than asked** needs its reason: `Fault(code="NoRoom", message="…", kind=FaultKind.CAPACITY)`, in `faults` of
  `Provisioned` or `Discovery`. The kinds are CAPACITY, QUOTA, THROTTLE, TRANSIENT, PERMISSION, INVALID, GONE and
  UNKNOWN. `CloudError(fault)` and `OutcomeUnknown(fault)` are made of one, and have it as `fault`. What a plug-in lacks
  for any call, such as its address, is a `CloudError` before a step is begun. What a fault says, and whatever a plug-in
  writes down, is told and stored: no secret and no user data gets in there.

The values that hooks give, with all their fields, by name; those in brackets may be left out:

    Problem(field, message, [severity, hint, template_id, source, passing])
    Fault(code, message, [kind, subject, hint])
    Provisioned(request_id, [resource_ids, instances, faults, provider_data, refills, final, untidy, account_id])
    Instance(instance_id, [resource_id, status, private_ip, public_ip, private_dns, public_dns, launch_time,
        instance_type, price_type, cores, threads, zone, weight, tags, listed, message])
    Discovery(request_id, observed_at, [instances, fulfilled, final, faults, thorough, account_id, stands, disowned,
        message])
    Outcome(request_id, done, [faults])
    Released(request_id, [ending, faults])
    Reclaim(instance_id, code, message, [at, status])
    OwnedResource(kind, resource_id, [request_id, template_id, form, status, created_at, account_id, provider, launcher,
        launch_templates])

Hooks may be called from several threads and processes at once. A plug-in keeps no state of its own: what it wants to
see again, it gives back as `provider_data`. Each call of Host Factory's is a short process that may be killed at any
moment, so that four rules hold:

- **Everything carries our tags from its birth**: `tags.of_instances(context, template, request_id)` gives them as a
  dict of strings, the template's `instanceTags` among them. What has none is found by nobody. By the tags
  `tags.REQUEST` (a request's id) and `tags.OWNER` (`context.owner`) it is found.
- **Every change stands between begin and done of `context.journal`**, so that the next process goes on with it. A
  launch is one step, of a name of its own in its request; `send` and `find` are the plug-in's:

      outcome = launch_once(context, request, "launch", "acme:Launch", parameters, send=send, find=find, whole=whole)

  `send(step)` sends `step.parameters` with `step.token`, 64 characters of `0-9a-f`, the same each time, and gives what
  the cloud has answered, as JSON values. Where the cloud refused it raises `CloudError`, where no answer came, so that
  something may have been made, `OutcomeUnknown`. `find(step)` looks for what a call that died has made, by the token or
  by our tags, and gives that in the same form, what has ended by now included, or `None`; where it can't look, it
  raises `CloudError`. `whole(outcome)` says whether that is all that was asked for: less may be shown only in part yet,
  and counts once 5 minutes are over. Where the cloud takes no token (`token=False`), the step is sent again only once
  nothing has been found for so long. A step that has its outcome is never sent again, whatever has become of its
  machines: all that is told of a launch stands in it. The core forgets steps once that is stored.

  What may be made twice (to end, to stop, to remove) stands in
  `with noted(context, request_id, "end-m-1", "acme:End", {"id": "m-1"}):`, of another name for each thing; a refusal
  (`CloudError`) takes that back, anything else leaves it open, such as `OutcomeUnknown` where no answer came. Both are
  in `hfcore.context`.
- **Nothing is launched past a request's deadline**, nor once `stop_launching` has been called.
- **Machines are ended by `release_instances` alone**, exactly those that it names.

The cloud is reached by `context.clients(service, patience)`, made by an entry point of group `hfcore.clouds`; a plug-in
may go its own way to it, and then needs neither that entry point nor a region. Nothing in the core knows the form of a
cloud's ids. `context.settings` are hfcore's own, and `hfcore.toml` takes no others: what a plug-in must be told
besides, it reads from an environment variable named for it (`ACME_URL`), or from a template's field of its own,
`template.extra["colour"]`: of the fields that hfcore does not know, a request has those that `template_fields` names.

When hooks are called: `validate_template` when templates are listed; `provision` by requestMachines; `advance`,
`discover_instances`, then where it is due `stop_launching`, `release_instances` and `cleanup` by getRequestStatus;
`release_instances` by requestReturnMachines; `reclaimed_instances` by getReturnRequests; `owned_resources` by
reconcile.

`hfcore plugins new NAME` makes a plug-in to begin with. Its tests are a subclass of `hfcore.testing.ProviderContract`,
which holds it to all that is said here: with `plugin`, the name of its module, and two fixtures of pytest, `cloud`
(`hfcore.testing.cloud.Cloud`: what really is in the cloud) and `template`, of which one machine is one unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from hfcore.config import Settings
    from hfcore.context import Context
    from hfcore.models import (
        Check,
        Discovery,
        Event,
        Fault,
        Found,
        Machine,
        Notice,
        Offers,
        Outcome,
        OwnedResource,
        PlannedCall,
        Problem,
        ProviderInfo,
        Provisioned,
        Reclaim,
        Release,
        Released,
        Request,
        SubnetsWanted,
        Template,
    )

HOOK_VERSION = 1
"""Version of this file. It grows when a plug-in written for the former one would break."""

PROVIDERS = "hfcore.providers"
"""Entry-point group of provider plug-ins; the entry point's name is the provider API."""

OBSERVERS = "hfcore.observers"
"""Entry-point group of plug-ins that implement `on_event` alone; loaded at the first event."""

CLOUDS = "hfcore.clouds"
"""Entry-point group of a cloud's client factories, by the name that `ProviderInfo.cloud` gives. The target,
`module:function`, is called once for a region, with all of `CLIENT_FACTS` by name, and gives what `context.clients`
then is."""

CLIENT_FACTS = ("settings", "region", "endpoint", "clock", "deadline", "operations")
"""What a client factory is given: hfcore's settings, region and endpoint of the requests at hand, the clock, the
`clock.monotonic()` at which the call must have ended, and what gives, when called, the operations that the plug-ins of
the cloud declare. One that takes `**_` besides what it needs goes on working where a later hfcore gives more."""

REQUIRED = frozenset(
    {
        "provider_info",
        "validate_template",
        "provision",
        "discover_instances",
        "stop_launching",
        "release_instances",
        "owned_resources",
        "cleanup",
    }
)
"""Hooks without which a provider plug-in is refused. Without `advance` nothing is ever left to do; without
`reclaimed_instances` the cloud never takes a machine back; without `find_instances` what no record names is left alone;
without `receive_notices` and `forget_notices` there is no queue of messages; without `describe_offers` no template is
generated."""

hookspec = pluggy.HookspecMarker("hfcore")
hookimpl = pluggy.HookimplMarker("hfcore")


@hookspec(firstresult=True)
def provider_info() -> ProviderInfo:  # type: ignore[empty-body]
    """Say what this plug-in is. Called once after loading; must not touch the network or import a cloud's SDK.

    Returns:
        `name`, `hook_version`, `summary` and `cloud`; `template_fields` that it honours, as files spell them, those
        `without_effect` and the `refused_fields` with their reasons; `operations`, `iam_actions`; `call_budgets`, whose
        names begin with `request`, `status`, `freeze` or `return`, and say how many calls that takes at most, by the
        operation alone, without its service: `1 List, 1 Launch for each request`.

    Example:
        return ProviderInfo(
            name="Acme",
            hook_version=1,
            summary="Machines of Acme.",
            cloud="acme",
            operations=("acme:Launch", "acme:List", "acme:End"),
            template_fields=("vmType", "vmTypes", "instanceTags"),
            call_budgets={"request": "1 Launch", "status": "1 List", "return": "1 End for each machine"},
        )
    """


@hookspec(firstresult=True)
def validate_template(template: Template, context: Context) -> tuple[Problem, ...]:  # type: ignore[empty-body]
    """Find everything that is wrong with a template for this API. Pure: no cloud call.

    Args:
        template: A template whose fields have the right types.
        context: The context; `settings` may matter to what is right.

    Returns:
        Every problem, not the first one. An error where the request would mean something else than asked; a warning
        (`severity=Severity.WARNING`) where a field has no effect. Of fields that `template_fields` does not name the
        core warns by itself.

    Example:
        return (Problem(field="fleetRole", message="is needed by SpotFleet"),)
    """


@hookspec(firstresult=True)
def provision(request: Request, template: Template, context: Context) -> Provisioned:  # type: ignore[empty-body]
    """Ask the cloud for `request.target` units.

    Carried out at most once for a request id: calling it again with the same request, after a death at any point, goes
    on where it stopped. After the request's deadline nothing is launched: what was begun is looked for.

    Args:
        request: The stored request, in status `creating`; past its deadline in any status without resource ids.
        template: The template, with the path of its user data.
        context: The context.

    Returns:
        Resource ids, the instances already known, faults, provider_data. `final` with no instance means: refused.

    Raises:
        CloudError: The cloud refused, or it is too late; nothing was made.
        OutcomeUnknown: A call was sent and not answered; `provision` is called again later.

    Example:
        client, weight = context.clients("machines", "quick"), next(iter(template.vm_types.values()), 1)
        its = tags.of_instances(context, template, request.request_id)
        sent = {"count": math.ceil(request.target / weight), "tags": its}

        def send(step):
            try:
                return {"ids": client.launch(token=step.token, **step.parameters)}
            except OSError as error:
                raise OutcomeUnknown(Fault(code="NoAnswer", message=str(error), kind=FaultKind.TRANSIENT)) from error

        def find(step):
            ids = client.made(step.token)
            return {"ids": ids} if ids else None

        def whole(outcome):
            return len(outcome["ids"]) == sent["count"]

        place = (context, request, "launch", "acme:Launch", sent)
        ids = launch_once(*place, send=send, find=find, whole=whole)["ids"]
        short = Fault(code="NoRoom", message=f"{len(ids)} of {sent['count']} launched", kind=FaultKind.CAPACITY)
        return Provisioned(
            request_id=request.request_id,
            instances=tuple(Instance(instance_id=one, weight=weight, listed=False) for one in ids),
            faults=(short,) if len(ids) < sent["count"] else (),
            final=True,
        )
    """


@hookspec(firstresult=True)
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:  # type: ignore[empty-body]
    """Do what open requests still need before they are asked about, such as the next part of a large one. Optional.

    Args:
        requests: Requests in status `in_progress`, before their deadline; later only those with open steps in the
            journal, for what these have made.
        context: The context.

    Returns:
        One `Provisioned` for each request that something was done for; none for the others.

    Raises:
        CloudError: The cloud refused; the requests stay as they are.

    Example:
        return ()
    """


@hookspec(firstresult=True)
def discover_instances(  # type: ignore[empty-body]
    requests: tuple[Request, ...], context: Context
) -> tuple[Discovery, ...]:
    """Ask the cloud which instances stand behind requests, all of them together.

    Args:
        requests: Requests of this API, region and endpoint. `machine_ids` hold the machines not yet terminal. A request
            of kind `return` (`RequestKind.RETURN`, of an id that no tag has) asks about exactly its `machine_ids`,
            whatever requests have made them; their weights are known.
        context: The context.

    Returns:
        One `Discovery` for each request. Of an instance that runs Host Factory is told name (`private_dns`, or what the
        setting `hostName` says), `private_ip` and `launch_time`. One that the cloud shows as ended is shown so; one of
        `machine_ids` that is absent counts as gone, once it has had time to become visible, unless the answer says
        `thorough=False`: it can't tell.

    Raises:
        CloudError: The cloud could not be asked; nothing changes, the fault is told.

    Example:
        at, everyone = context.clock.now(), context.clients("machines", "patient").list()
        found = []
        for request in requests:
            weight = next(iter(request.template.vm_types.values()), 1) if request.template else 1
            its = tuple(
                Instance(
                    instance_id=one["id"],
                    status=MachineStatus.RUNNING if one["up"] else MachineStatus.TERMINATED,
                    weight=weight,
                    tags=one["tags"],
                    private_dns=one["name"],
                    private_ip=one["address"],
                    launch_time=one["since"],
                )
                for one in everyone
                if one["id"] in request.machine_ids or one["tags"].get(tags.REQUEST) == request.request_id
            )
            units = sum(one.weight for one in its if one.status is MachineStatus.RUNNING)
            its_answer = {"instances": its, "fulfilled": units, "final": True, "observed_at": at}
            found.append(Discovery(request_id=request.request_id, **its_answer))
        return tuple(found)
    """


@hookspec(firstresult=True)
def stop_launching(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:  # type: ignore[empty-body]
    """See to it that nothing new comes for these requests; what runs stays.

    Args:
        requests: Requests that are complete, cancelled or past their deadline, and whose `Provisioned.resource_ids`
            have named something: without, there is nothing to stop, and neither this nor `cleanup` is called.
        context: The context.

    Returns:
        One `Outcome` for each request; a resource that is gone already is done. What can't be done now is
        `done=False` with its `faults`, and is tried again later.

    Example:
        return tuple(Outcome(request_id=r.request_id, done=True) for r in requests)
    """


@hookspec(firstresult=True)
def release_instances(releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:  # type: ignore[empty-body]
    """End exactly these machines, and see to it that nothing comes in their place.

    Args:
        releases: Machines by the request that made them.
        context: The context.

    Returns:
        One `Released` for each release; an instance that is gone already, or that the cloud has never known, is
        success. One that can't be ended now stands in `faults`, here a mapping of its id to the `Fault`, and is tried
        again later.

    Example:
        client, released = context.clients("machines", "quick"), []
        for one in releases:
            request_id, ids = one.request.request_id, [machine.instance_id for machine in one.machines]
            for each in ids:
                with noted(context, request_id, f"end-{each}", "acme:End", {"id": each}):
                    client.end(each)
            released.append(Released(request_id=request_id, ending=frozenset(ids)))
        return tuple(released)
    """


@hookspec(firstresult=True)
def reclaimed_instances(  # type: ignore[empty-body]
    machines: tuple[Machine, ...], requests: tuple[Request, ...], context: Context
) -> tuple[Reclaim, ...]:
    """Find those of our live machines that the cloud is taking, or has taken, back.

    Args:
        machines: Live machines of this API that Host Factory has not returned; each with its `notice`, if a message has
            announced something of it.
        requests: The requests that made them, once each.
        context: The context; its cache lets all plug-ins of a cloud share one answer.

    Returns:
        One `Reclaim` for each such machine, with the moment; one that has crashed may be told of too. Of one that the
        cloud does not know, without status: the core makes sure by `discover_instances` before it counts as gone.

    Raises:
        CloudError: The cloud could not be asked; nothing is taken back, the fault is told.

    Example:
        return ()
    """


@hookspec(firstresult=True)
def find_instances(  # type: ignore[empty-body]
    instance_ids: tuple[str, ...], host_names: tuple[str, ...], request_ids: tuple[str, ...], context: Context
) -> tuple[Found, ...]:
    """Look for instances that no record names, whatever API of this cloud launched them. Optional.

    Args:
        instance_ids: Ids that Host Factory has given; they may be anything.
        host_names: Host names that it has given without an id, as the setting `hostName` makes them; the same.
        request_ids: Requests, by our tags, all of whose instances are looked for besides.
        context: The context.

    Returns:
        One `Found` for each of `instance_ids`, for each instance that has one of `host_names`, without an id for a name
        that nothing has, none for a name by which the cloud can't look, and one for each further instance of ours that
        these requests made.

    Raises:
        CloudError: The cloud could not be asked; nothing is known of them then.

    Example:
        return tuple(Found(instance_id=one) for one in instance_ids)
    """


@hookspec(firstresult=True)
def receive_notices(context: Context) -> tuple[Notice, ...]:  # type: ignore[empty-body]
    """Take messages on what the cloud takes back from the queue that the settings name. Optional.

    Args:
        context: The context.

    Returns:
        The messages of a bounded number of looks, those included that announce nothing. They come again later, until
        `forget_notices` has them.

    Raises:
        CloudError: The queue could not be read.

    Example:
        return ()
    """


@hookspec(firstresult=True)
def forget_notices(notices: tuple[Notice, ...], context: Context) -> tuple[Fault, ...]:  # type: ignore[empty-body]
    """Let the queue forget messages, now that what they announce is stored. Optional, beside `receive_notices`.

    Args:
        notices: What `receive_notices` gave.
        context: The context.

    Returns:
        Why some of them come again; that does no harm.

    Raises:
        CloudError: They all come again.

    Example:
        return ()
    """


@hookspec(firstresult=True)
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:  # type: ignore[empty-body]
    """List everything of this API in the cloud that carries our owner tag.

    Args:
        context: The context; `owner` is the tag's value.

    Returns:
        Machines that are not ending (kind `instance`), and whatever else stands, such as a `group`; of one owner alone.
        Each with the request id of its tag, its `created_at`, without which reconcile never judges it, and its account
        where a cloud has such, so that the core can tell whether its request lives there.

    Raises:
        CloudError: The cloud could not be asked; nothing is judged then.

    Example:
        return tuple(
            OwnedResource(
                kind="instance",
                resource_id=one["id"],
                request_id=one["tags"].get(tags.REQUEST, ""),
                created_at=one["since"],
            )
            for one in context.clients("machines", "patient").list()
            if one["up"] and one["tags"].get(tags.OWNER) == context.owner
        )
    """


@hookspec(firstresult=True)
def remove_owned(resources: tuple[OwnedResource, ...], context: Context) -> tuple[Fault, ...]:  # type: ignore[empty-body]
    """Remove what requests have shared and nothing needs any more, for reconcile. Optional.

    Args:
        resources: What `owned_resources` has listed as kind `launch-template`. Whose it is, is looked at once more.
        context: The context.

    Returns:
        Why some of them still stand, each with the resource's id as its subject; gone already, or not ours, is none.

    Raises:
        CloudError: The cloud could not be asked; all of them stand.

    Example:
        return ()
    """


@hookspec(firstresult=True)
def cleanup(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:  # type: ignore[empty-body]
    """Remove what was made for requests alone, beside their machines, such as an emptied group.

    Args:
        requests: Requests that have ended and were stopped, and whose machines are all terminal.
        context: The context.

    Returns:
        One `Outcome` for each request, as for `stop_launching`: what still stands in its way is `done=False`.

    Example:
        return tuple(Outcome(request_id=r.request_id, done=True) for r in requests)
    """


@hookspec(firstresult=True)
def plan(  # type: ignore[empty-body]
    request: Request, template: Template, context: Context
) -> tuple[PlannedCall, ...]:
    """Give the exact calls that `provision` would make, unsent (dry run). Optional.

    Args:
        request: A request that is not stored.
        template: The template.
        context: The context.

    Returns:
        The calls in order, without user data.

    Example:
        return (PlannedCall(service="ec2", operation="RunInstances", parameters={"MinCount": 1, "MaxCount": 2}),)
    """


@hookspec(firstresult=True)
def check(template: Template, context: Context) -> tuple[Check, ...]:  # type: ignore[empty-body]
    """Confirm in the cloud what a template names, without making anything. Optional, for `hfcore doctor`.

    Args:
        template: A valid template.
        context: The context.

    Returns:
        One `Check` for each thing that the cloud can confirm; `not checked` with a reason is a legal result.

    Example:
        return (Check(name="image", status="ok", message="ami-1 is available"),)
    """


@hookspec(firstresult=True)
def check_account(  # type: ignore[empty-body]
    actions: tuple[str, ...], accounts: Mapping[str, int], context: Context
) -> tuple[Check, ...]:
    """Look at the way to the cloud, for `hfcore doctor`: credentials, account, clock, endpoints, rights. Optional.

    Args:
        actions: Permissions that the plug-ins need, in the cloud's spelling.
        accounts: How many stored requests that are not over live in which account.
        context: The context.

    Returns:
        One `Check` for each thing; what can't be asked is one too, so this raises nothing.

    Example:
        return (Check(name="credentials", status="ok", message="account 123456789012"),)
    """


@hookspec(firstresult=True)
def access_policy(  # type: ignore[empty-body]
    plugins: tuple[ProviderInfo, ...], owner: str, settings: Settings | None
) -> Mapping[str, Any]:
    """Give the cloud's document that allows what plug-ins need and no more, for `hfcore iam-policy`. Optional.

    Args:
        plugins: What the plug-ins of this cloud say of themselves.
        owner: The owner id whose things may be changed; empty for whatever has one.
        settings: The provider instance's settings; `None` where none is named.

    Returns:
        The document, as JSON values.

    Example:
        return {"Version": "2012-10-17", "Statement": []}
    """


@hookspec(firstresult=True)
def describe_offers(  # type: ignore[empty-body]
    instance_types: tuple[str, ...], subnets: SubnetsWanted | None, context: Context
) -> Offers:
    """Say what the cloud offers to make templates of, for `hfcore templates generate`. Optional.

    Args:
        instance_types: The types that are asked about, as `vmTypes` names them.
        subnets: Which subnets are looked for; `None` for none.
        context: The context.

    Returns:
        The types that the cloud knows, in the order asked, and the subnets.

    Raises:
        CloudError: The cloud could not be asked, or does not have a type.

    Example:
        return Offers(types=(MachineType(name="small", cores=1, memory_mib=4096, architecture="x86_64"),))
    """


@hookspec
def on_event(event: Event) -> None:
    """See what happened. For observers; an error is logged and stops nothing.

    Args:
        event: What happened, to which request, when.

    Example:
        print(event.name, event.request_id)
    """
