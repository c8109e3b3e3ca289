"""Own how a request becomes machines: chunk by chunk, pool by pool, gone on with after a death or a throttle."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import shortages, tags
from hfcore.aws.calls import ask, once
from hfcore.aws.errors import as_fault, lost_launch_template
from hfcore.aws.instances import weights
from hfcore.aws.launch_templates import users_interfaces, using
from hfcore.errors import CloudError, HfcoreError, OutcomeUnknown
from hfcore.models import Fault, FaultKind, Instance, Provisioned
from hfcore_aws_runinstances.requests import instances, keep, less, parts, pools, run_instances

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.context import Context, Intent
    from hfcore.models import Request, Template
    from hfcore_aws_runinstances.requests import Pool

_STEP = re.compile(r"launch-(\d+)-pool-(\d+)")
_NEXT_POOL = frozenset({FaultKind.CAPACITY, FaultKind.QUOTA})
_LATER = frozenset({FaultKind.THROTTLE, FaultKind.TRANSIENT})


def wants_more(request: Request) -> bool:
    """Tell whether an open request still lacks machines that EC2 may give."""
    left = request.provider_data.get("left", (request.target,))
    return not request.provider_data.get("given_up") and any(units > 0 for units in left)


def advanced(context: Context, request: Request) -> Provisioned | None:
    """Go on with an open request; what stands in the way is told as a fault."""
    if request.template is None:
        return None
    launch = Launch(context, request, request.template)
    try:
        return launch.go()
    except HfcoreError as error:
        return launch.stopped(error)


class Launch:
    """One go at a request: what was made before is taken from its `provider_data` and the journal.

    `provider_data`: `left` (units of each part), `next` (number of the next step; earlier ones are counted), `order`
    (indexes of the pools as they are tried: those short of capacity a moment ago last), `pool` (place in that order of
    the pool to try), `given_up`, `unanswered` (the last call may have been done), `launch_template`.
    """

    def __init__(self, context: Context, request: Request, template: Template) -> None:
        before = request.provider_data
        self.context, self.request, self.template = context, request, template
        self.pools, self.units = pools(template), weights(template)
        self.left = [float(units) for units in before.get("left", parts(template, request.target))]
        self.next = int(before.get("next", 0))
        self.pool = int(before.get("pool", 0))
        self.order = [int(one) for one in before.get("order", ())]
        self.given_up = bool(before.get("given_up", False))
        self.unanswered = bool(before.get("unanswered", False))
        self.launch_template = str(before.get("launch_template", ""))
        self.made: list[Instance] = []
        self.reservations = list(request.resource_ids)
        self.account = ""
        self.faults: list[Fault] = []
        self.refusal: CloudError | None = None

    def go(self) -> Provisioned:
        """Take in what the journal knows, then launch until all is there, no pool has any, or EC2 wants a pause.

        Raises:
            CloudError: EC2 refused, and has made nothing for this request.
            OutcomeUnknown: A call was not answered, and nothing else was made.
        """
        try:
            if self._resume():
                using(self.context, self.request, self.template, self._launch)
        except HfcoreError as error:
            if not self._has_any():
                raise
            return self.stopped(error)
        if self.refusal and not self._has_any():
            raise self.refusal
        return self._provisioned()

    def stopped(self, error: HfcoreError) -> Provisioned:
        """Give what there is, and why it is no more for now."""
        if error is not self.refusal:
            found = error.fault if isinstance(error, CloudError) else Fault(code=error.code, message=str(error))
            self.faults.append(found)
        return self._provisioned()

    def _has_any(self) -> bool:
        return bool(self.made or self.request.resource_ids)

    def _resume(self) -> bool:
        """Take in the steps that the journal has and the request has not; tell whether to go on launching."""
        found = (
            (_STEP.fullmatch(intent.step), intent) for intent in self.context.journal.steps(self.request.request_id)
        )
        steps = sorted(
            (int(match[1]), int(match[2]), intent) for match, intent in found if match and int(match[1]) >= self.next
        )
        self.order = self.order or self._ordered(dict.fromkeys(pool for _, pool, _ in steps))
        for number, pool, intent in steps:
            self.next, self.pool = number, self.order.index(pool)
            try:
                going = self._attempt(intent.parameters)
            except CloudError:  # its launch template is lost: it is launched anew, from a new one
                return True
            if not going:
                return False
        return True

    def _ordered(self, tried: Iterable[int]) -> list[int]:
        """Put the pools in the order in which they are tried; those that a call before has tried are over first."""
        first = list(tried)

        def turn(number: int) -> tuple[int, bool, bool]:
            pool = self.pools[number]
            return pool.part, not pool.spot, shortages.is_short(self.context, pool)

        return first + sorted((one for one in range(len(self.pools)) if one not in first), key=turn)

    def _launch(self, launch_template: str) -> None:
        self.launch_template = launch_template or self.launch_template
        its_tags = tags.of_instances(self.context, self.template, self.request.request_id)
        cards = users_interfaces(self.context, self.template)
        going = True
        while going and self.pool < len(self.order):
            pool = self.pools[self.order[self.pool]]
            if self.left[pool.part] <= 0:
                self.pool += 1
                continue
            count = pool.machines(self.left[pool.part])
            going = self._attempt(run_instances(pool, count, self.template, launch_template, its_tags, cards=cards))
        self.given_up = self.given_up or (self._lacks and self.pool >= len(self.order))

    @property
    def _lacks(self) -> bool:
        return any(units > 0 for units in self.left)

    def _attempt(self, parameters: Mapping[str, Any]) -> bool:
        """Carry out the next step, and take in its outcome; tell whether to go on."""
        number = self.order[self.pool]
        pool, step = self.pools[number], f"launch-{self.next}-pool-{number}"
        place = (self.context, self.request.request_id, step, "ec2", "RunInstances", parameters)
        try:
            outcome = once(*place, keep=keep, find=self._find, until=self.request.deadline)
        except CloudError as error:
            return self._after_refusal(error, pool)
        self.next += 1
        self.unanswered = False
        self._take_in(outcome, pool, parameters["MaxCount"])
        return True

    def _take_in(self, outcome: Mapping[str, Any], pool: Pool, asked: int) -> None:
        found = instances(outcome, self.units)
        self.made += found
        self.left = less(self.left, pool.part, len(found) * pool.weight)
        self.account = outcome["account"] or self.account
        if outcome["reservation"] and outcome["reservation"] not in self.reservations:
            self.reservations.append(outcome["reservation"])
        if len(found) == asked:
            return
        self.pool += 1
        if outcome["reservation"]:
            short = f"{len(found)} of {asked} machines launched"
            self.faults.append(as_fault("InsufficientInstanceCapacity", short, str(pool)))
            shortages.note(self.context, pool)
        else:
            ended = f"all of up to {asked} machines have ended before they were seen"
            self.faults.append(as_fault("IdempotentInstanceTerminated", ended, str(pool)))

    def _after_refusal(self, error: CloudError, pool: Pool) -> bool:
        fault = error.fault
        if lost_launch_template(fault) and not isinstance(error, OutcomeUnknown):
            raise error
        self.refusal = error
        self.faults.append(replace(fault, subject=str(pool)))
        self.unanswered = isinstance(error, OutcomeUnknown)
        if self.unanswered or fault.kind in _LATER:
            return False
        if fault.kind is FaultKind.CAPACITY:
            shortages.note(self.context, pool)
        self.next += 1
        self.pool += 1
        self.given_up = fault.kind not in _NEXT_POOL
        return not self.given_up

    def _find(self, intent: Intent) -> Mapping[str, Any] | None:
        parameters = {"Filters": [{"Name": "client-token", "Values": [intent.token]}]}
        found = ask(self.context, "ec2", "DescribeInstances", parameters, intent.step)["Reservations"]
        return keep(found[0]) if found else None

    def _provisioned(self) -> Provisioned:
        state = {
            "left": [max(units, 0.0) for units in self.left],
            "next": self.next,
            "pool": self.pool,
            "order": self.order,
            "given_up": self.given_up,
            "unanswered": self.unanswered,
            "launch_template": self.launch_template,
        }
        return Provisioned(
            request_id=self.request.request_id,
            resource_ids=tuple(self.reservations),
            instances=tuple(self.made),
            faults=tuple(self.faults),
            provider_data=state,
            final=self.given_up or not self._lacks,
            account_id=self.account,
        )
