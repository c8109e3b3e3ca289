from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.aws.calls import chunks, each, once, pages, repeat
from hfcore.aws.errors import NotOurs
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Fault, FaultKind
from hfcore.testing.aws import IMAGE, AwsError, StrictAws

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hfcore.context import Context, Intent
    from hfcore.models import Template

THROTTLED = AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
BROKEN = AwsError("InternalError", "An internal error has occurred", 500)
SHORT = AwsError("InsufficientInstanceCapacity", "We currently do not have sufficient m5.large capacity.", 500)
WRONG = AwsError("InvalidParameterValue", "Value is invalid.")
DENIED = AwsError("UnauthorizedOperation", "You are not authorized.", 403)


@pytest.fixture
def run(context: Context, template: Template) -> Callable[..., Mapping[str, Any]]:
    parameters = {
        "ImageId": IMAGE,
        "InstanceType": "m5.large",
        "SubnetId": template.subnet_id[0],
        "MinCount": 1,
        "MaxCount": 1,
    }

    def keep(answer: Mapping[str, Any]) -> dict[str, Any]:
        return {"ids": [one["InstanceId"] for one in answer["Instances"]]}

    def run(context: Context = context, most: int = 1, **more: object) -> Mapping[str, Any]:
        sent = parameters | {"MaxCount": most}
        return once(context, "req-1", "launch-0", "ec2", "RunInstances", sent, keep=keep, **more)

    return run


def test_an_outcome_that_is_known_is_given_back_without_a_call(
    run: Callable[..., Mapping[str, Any]], new_context: Callable[..., Context], strict_aws: StrictAws
) -> None:
    first = run()
    again = run(new_context())

    assert first == again
    assert len(strict_aws.live_instances()) == 1
    assert len(strict_aws.calls) == 1


def test_the_intent_stands_on_disk_before_aws_is_asked(
    run: Callable[..., Mapping[str, Any]], strict_aws: StrictAws, context: Context, faults: Callable[..., None]
) -> None:
    faults("RunInstances", "reset before", "reset before")
    with pytest.raises(OutcomeUnknown):
        run()

    [intent] = context.journal.steps("req-1")
    assert (intent.call, intent.outcome) == ("ec2:RunInstances", None)
    assert [call.parameters["ClientToken"] for call in strict_aws.calls] == [intent.token] * 2


def test_an_open_step_is_replayed_with_the_parameters_and_token_of_then(
    run: Callable[..., Mapping[str, Any]],
    new_context: Callable[..., Context],
    strict_aws: StrictAws,
    faults: Callable[..., None],
) -> None:
    faults("RunInstances", "reset after", "reset after")
    with pytest.raises(OutcomeUnknown):
        run()

    outcome = run(new_context(), most=7)

    assert outcome["ids"] == [one.id for one in strict_aws.live_instances()]
    assert [call.parameters["MaxCount"] for call in strict_aws.calls] == [1, 1, 1]


@pytest.mark.parametrize("error", [WRONG, SHORT, DENIED])
def test_a_refusal_takes_the_intent_back(
    run: Callable[..., Mapping[str, Any]], context: Context, faults: Callable[..., None], error: AwsError
) -> None:
    faults("RunInstances", error)
    with pytest.raises(CloudError, match=error.code) as caught:
        run()

    assert not isinstance(caught.value, OutcomeUnknown)
    assert context.journal.steps("req-1") == ()
    assert run()["ids"]


@pytest.mark.parametrize("wrong", [BROKEN, "reset before", "reset after"])
def test_an_unanswered_attempt_is_repeated_once_with_the_same_token(
    run: Callable[..., Mapping[str, Any]], strict_aws: StrictAws, faults: Callable[..., None], wrong: AwsError | str
) -> None:
    faults("RunInstances", wrong)

    assert run()["ids"] == [one.id for one in strict_aws.live_instances()]
    assert len(strict_aws.calls) == 2


@pytest.mark.parametrize("later", [WRONG, SHORT, DENIED, THROTTLED])
def test_after_an_unanswered_attempt_no_failure_counts_as_a_refusal(
    run: Callable[..., Mapping[str, Any]], context: Context, faults: Callable[..., None], later: AwsError
) -> None:
    faults("RunInstances", BROKEN, *[later] * 3)
    with pytest.raises(OutcomeUnknown):
        run()

    [intent] = context.journal.steps("req-1")
    assert intent.outcome is None


def test_without_a_token_an_unanswered_attempt_is_not_repeated(
    run: Callable[..., Mapping[str, Any]], strict_aws: StrictAws, faults: Callable[..., None]
) -> None:
    faults("RunInstances", BROKEN)
    with pytest.raises(OutcomeUnknown):
        run(token=False)

    assert len(strict_aws.calls) == 1


def test_a_throttled_launch_is_repeated_twice_after_a_growing_pause(
    run: Callable[..., Mapping[str, Any]], slept: list[float], faults: Callable[..., None]
) -> None:
    faults("RunInstances", THROTTLED, THROTTLED)

    assert run()["ids"]
    short, long = slept
    assert 0.5 <= short <= 1.0 <= long <= 2.0


def test_a_launch_that_stays_throttled_is_refused_and_may_be_tried_later(
    run: Callable[..., Mapping[str, Any]], context: Context, faults: Callable[..., None]
) -> None:
    faults("RunInstances", *[THROTTLED] * 3)
    with pytest.raises(CloudError) as caught:
        run()

    assert caught.value.fault.kind is FaultKind.THROTTLE
    assert context.journal.steps("req-1") == ()


def test_a_replay_that_finds_no_capacity_is_conclusive_only_when_the_first_is_long_past(
    run: Callable[..., Mapping[str, Any]],
    new_context: Callable[..., Context],
    pass_time: Callable[[float], None],
    faults: Callable[..., None],
) -> None:
    faults("RunInstances", "reset before", "reset before", SHORT, DENIED, "reset before", SHORT, SHORT)
    with pytest.raises(OutcomeUnknown):
        run()
    with pytest.raises(OutcomeUnknown):
        run(new_context())
    pass_time(301.0)
    with pytest.raises(OutcomeUnknown, match="UnauthorizedOperation"):
        run(new_context())
    with pytest.raises(OutcomeUnknown, match="InsufficientInstanceCapacity"):
        run(new_context())
    pass_time(301.0)  # since the last attempt, which may have arrived
    with pytest.raises(CloudError, match="InsufficientInstanceCapacity") as caught:
        run(new_context())

    assert not isinstance(caught.value, OutcomeUnknown)


def test_what_an_earlier_call_made_is_found(
    run: Callable[..., Mapping[str, Any]], context: Context, faults: Callable[..., None]
) -> None:
    seen: list[str] = []

    def find(intent: Intent) -> dict[str, Any]:
        seen.append(intent.step)
        return {"ids": ["i-1"]}

    faults("RunInstances", AwsError("IdempotentParameterMismatch", "Arguments are inconsistent."))

    assert run(find=find) == {"ids": ["i-1"]}
    assert seen == ["launch-0"]
    assert context.journal.steps("req-1")[0].outcome == {"ids": ["i-1"]}


def test_what_is_there_and_not_ours_is_a_refusal(
    run: Callable[..., Mapping[str, Any]], context: Context, faults: Callable[..., None]
) -> None:
    def find(_intent: Intent) -> None:
        raise NotOurs("a group")

    faults("RunInstances", AwsError("AlreadyExists", "A group by this name exists."))
    with pytest.raises(CloudError, match="not this request's") as caught:
        run(find=find)

    assert not isinstance(caught.value, OutcomeUnknown)
    assert context.journal.steps("req-1") == ()


def test_what_is_not_wanted_any_more_is_never_asked_for(
    run: Callable[..., Mapping[str, Any]], context: Context, operations: Callable[[], list[str]]
) -> None:
    with pytest.raises(CloudError, match="deadline") as caught:
        run(until=context.clock.now(), find=lambda _: {"ids": ["i-1"]})

    assert not isinstance(caught.value, OutcomeUnknown)
    assert operations() == []
    assert context.journal.steps("req-1") == ()


def test_what_was_begun_and_is_not_wanted_any_more_is_looked_for_and_not_sent_again(
    run: Callable[..., Mapping[str, Any]],
    new_context: Callable[..., Context],
    faults: Callable[..., None],
    operations: Callable[[], list[str]],
) -> None:
    faults("RunInstances", "reset after", "reset after")
    with pytest.raises(OutcomeUnknown):
        run()
    sent = operations()
    context = new_context()

    assert run(context, until=context.clock.now(), find=lambda _: {"ids": ["i-1"]}) == {"ids": ["i-1"]}
    assert operations() == sent


def test_that_nothing_is_found_proves_something_only_long_after_the_last_attempt(
    run: Callable[..., Mapping[str, Any]],
    new_context: Callable[..., Context],
    pass_time: Callable[[float], None],
    faults: Callable[..., None],
) -> None:
    faults("RunInstances", *["reset before"] * 4)
    with pytest.raises(OutcomeUnknown):
        run()
    pass_time(301.0)
    with pytest.raises(OutcomeUnknown):
        run(new_context())  # sent again: the five minutes begin anew
    pass_time(200.0)
    for _ in range(2):  # looking does not begin them anew
        with pytest.raises(OutcomeUnknown):
            run(new_context(), until=new_context().clock.now(), find=lambda _: None)
    pass_time(101.0)
    with pytest.raises(CloudError, match="deadline") as caught:
        run(new_context(), until=new_context().clock.now(), find=lambda _: None)

    assert not isinstance(caught.value, OutcomeUnknown)
    assert new_context().journal.steps("req-1") == ()


def test_while_aws_can_t_be_asked_nothing_is_concluded(
    run: Callable[..., Mapping[str, Any]],
    new_context: Callable[..., Context],
    pass_time: Callable[[float], None],
    faults: Callable[..., None],
) -> None:
    def find(_intent: Intent) -> None:
        raise CloudError(Fault(code="RequestLimitExceeded", message="Slow down.", kind=FaultKind.THROTTLE))

    faults("RunInstances", *["reset before"] * 2)
    with pytest.raises(OutcomeUnknown):
        run()
    pass_time(3600.0)
    with pytest.raises(OutcomeUnknown, match="RequestLimitExceeded"):
        run(new_context(), until=new_context().clock.now(), find=find)
    assert len(new_context().journal.steps("req-1")) == 1


def test_a_token_that_aws_may_have_forgotten_is_not_sent_again(
    run: Callable[..., Mapping[str, Any]],
    new_context: Callable[..., Context],
    pass_time: Callable[[float], None],
    faults: Callable[..., None],
    operations: Callable[[], list[str]],
) -> None:
    faults("RunInstances", "reset after", "reset after")
    with pytest.raises(OutcomeUnknown):
        run()
    sent = operations()
    pass_time(25 * 3600.0)

    assert run(new_context(), find=lambda _: {"ids": ["i-1"]}) == {"ids": ["i-1"]}
    assert operations() == sent


def test_a_secret_is_sent_and_never_written_down(
    run: Callable[..., Mapping[str, Any]], strict_aws: StrictAws, tmp_path: Path
) -> None:
    run(secret={"UserData": "s3cret"})

    assert base64.b64decode(strict_aws.calls[0].parameters["UserData"]) == b"s3cret"
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "RunInstances" in written
    assert "s3cret" not in written


def test_repeat_always_sends_the_parameters_of_now(
    context: Context, launched: Callable[..., list[str]], strict_aws: StrictAws
) -> None:
    first, second = launched(2)
    for one in (first, second, second):
        repeat(context, "ret-1", "terminate", "ec2", "TerminateInstances", {"InstanceIds": [one]})

    assert [call.parameters["InstanceIds"] for call in strict_aws.calls] == [[first], [second], [second]]
    [intent] = context.journal.steps("ret-1")
    assert intent.parameters == {"InstanceIds": [second]}
    assert intent.outcome == {}


def test_repeat_takes_the_codes_that_mean_that_it_is_so_already(context: Context, faults: Callable[..., None]) -> None:
    faults("TerminateInstances", AwsError("InvalidInstanceID.NotFound", "gone"))
    place = (context, "ret-1", "terminate", "ec2", "TerminateInstances", {"InstanceIds": ["i-00000000000000001"]})

    assert repeat(*place, accept=("InvalidInstanceID.NotFound",)) == {}


def test_repeat_leaves_an_unanswered_change_open(
    context: Context, launched: Callable[..., list[str]], faults: Callable[..., None]
) -> None:
    [one] = launched()
    faults("TerminateInstances", BROKEN, BROKEN)
    with pytest.raises(OutcomeUnknown):
        repeat(context, "ret-1", "terminate", "ec2", "TerminateInstances", {"InstanceIds": [one]})

    assert context.journal.steps("ret-1")[0].outcome is None


def test_a_client_that_can_not_be_had_leaves_no_intent_and_takes_none_back(
    context: Context,
    new_context: Callable[..., Context],
    run: Callable[..., Mapping[str, Any]],
    faults: Callable[..., None],
) -> None:
    def none(_service: str, _patience: str) -> None:
        raise CloudError(FAULT)

    with pytest.raises(CloudError) as caught:
        run(replace(context, clients=none))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert context.journal.steps("req-1") == ()
    faults("RunInstances", "reset after", "reset after")
    for clients in (context.clients, none):
        with pytest.raises(OutcomeUnknown):
            run(replace(new_context(), clients=clients))
    assert len(run(new_context())["ids"]) == 1


FAULT = Fault(code="NoRegion", message="no AWS region is set")


def test_pages_are_followed_to_the_end(
    context: Context, launched: Callable[..., list[str]], strict_aws: StrictAws
) -> None:
    for _ in range(7):
        launched()

    found = list(pages(context, "ec2", "DescribeInstances", "Reservations", {"MaxResults": 5}))

    assert len(found) == 7
    assert len(strict_aws.calls) == 2


def test_each_keeps_the_order_and_raises_the_first_error() -> None:
    assert each(lambda number: number * 2, range(20)) == tuple(range(0, 40, 2))
    assert each(str, ()) == ()
    with pytest.raises(ZeroDivisionError):
        each(lambda number: 1 // number, (1, 0))


def test_chunks_hold_at_most_their_size() -> None:
    assert list(chunks((1, 2, 3, 4, 5), 2)) == [(1, 2), (3, 4), (5,)]
