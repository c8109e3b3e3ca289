from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from hfcore.aws.errors import (
    as_fault,
    asking,
    fault,
    kind_of,
    lost_launch_template,
    missing_instance_ids,
    named_instances,
    refused,
)
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Fault, FaultKind


def client_error(code: str, status: int = 400, message: str = "a sentence") -> boto.ClientError:
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "aws-request-1"},
    }
    return boto.ClientError(answer, "RunInstances")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", FaultKind.CAPACITY),
        ("Server.InsufficientInstanceCapacity", FaultKind.CAPACITY),
        ("UnfulfillableCapacity", FaultKind.CAPACITY),
        ("InsufficientFreeAddressesInSubnet", FaultKind.CAPACITY),
        ("Unsupported", FaultKind.CAPACITY),
        ("VcpuLimitExceeded", FaultKind.QUOTA),
        ("MaxSpotInstanceCountExceeded", FaultKind.QUOTA),
        ("SomeNewLimitExceeded", FaultKind.QUOTA),
        ("LimitExceeded", FaultKind.QUOTA),
        ("RequestLimitExceeded", FaultKind.THROTTLE),
        ("Throttling", FaultKind.THROTTLE),
        ("ResourceContention", FaultKind.THROTTLE),
        ("InternalError", FaultKind.TRANSIENT),
        ("Server.InternalError", FaultKind.TRANSIENT),
        ("Client.InternalError", FaultKind.PERMISSION),
        ("ScalingActivityInProgress", FaultKind.TRANSIENT),
        ("UnauthorizedOperation", FaultKind.PERMISSION),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", FaultKind.PERMISSION),
        ("AccessDenied", FaultKind.PERMISSION),
        ("ExpiredToken", FaultKind.PERMISSION),
        ("OperationNotPermitted", FaultKind.PERMISSION),
        ("InvalidParameterValue", FaultKind.INVALID),
        ("InvalidAMIID.Malformed", FaultKind.INVALID),
        ("TagLimitExceeded", FaultKind.INVALID),
        ("UnsupportedOperation", FaultKind.INVALID),
        ("ValidationError", FaultKind.INVALID),
        ("InvalidInstanceID.NotFound", FaultKind.GONE),
        ("InvalidLaunchTemplateName.NotFoundException", FaultKind.GONE),
        ("fleetIdDoesNotExist", FaultKind.GONE),
        ("NoSuchEntity", FaultKind.GONE),
        ("AWS.SimpleQueueService.NonExistentQueue", FaultKind.GONE),
        ("MetadataRetrievalError", FaultKind.PERMISSION),
        ("iamFleetRoleInvalid", FaultKind.PERMISSION),
        ("launchSpecUnusable", FaultKind.CAPACITY),
        ("NeverHeardOf", FaultKind.UNKNOWN),
    ],
)
def test_each_aws_code_has_the_kind_that_says_what_to_do(code: str, kind: FaultKind) -> None:
    assert kind_of(code) is kind


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "iam:CreateServiceLinkedRole"),
        ("AuthFailure", "check the access key"),
        ("Client.InternalError", "kms:CreateGrant"),
        ("Client.InvalidKMSKey.InvalidState", "kms:CreateGrant"),
        ("Server.InternalError", "AWS Health Dashboard"),
        ("UnsupportedOperation", "correct what AWS names"),
        ("NoSuchEntity", "instanceProfile"),
        ("AWS.SimpleQueueService.NonExistentQueue", "reclaim_queue_url"),
        ("MetadataRetrievalError", "instance role"),
        ("iamFleetRoleInvalid", "AmazonEC2SpotFleetTaggingRole"),
        ("launchSpecUnusable", "maxSpotPrice"),
        ("InvalidRetryModeError", "AWS_CONFIG_FILE"),
        ("SomeNewLimitExceeded", "quota raised"),
        ("InvalidSubnetID.NotFound", "correct the template"),
        ("NeverHeardOf", ""),
    ],
)
def test_the_remedy_is_that_of_the_cause(code: str, remedy: str) -> None:
    hint = as_fault(code, "").hint
    assert remedy in hint
    assert bool(remedy) == bool(hint)


def test_an_unknown_code_is_judged_by_its_http_status() -> None:
    assert kind_of("NeverHeardOf", 400) is FaultKind.INVALID
    assert kind_of("NeverHeardOf", 503) is FaultKind.TRANSIENT


@pytest.mark.parametrize(
    "error",
    [
        client_error("InvalidParameterValue"),
        client_error("InsufficientInstanceCapacity", 500),
        client_error("RequestLimitExceeded", 503),
        client_error("VcpuLimitExceeded", 500),
        client_error("ResourceContention", 500),
        client_error("ScalingActivityInProgress"),
        boto.EndpointConnectionError(endpoint_url="https://ec2"),
        boto.ConnectTimeoutError(endpoint_url="https://ec2"),
        boto.ProxyConnectionError(proxy_url="http://proxy"),
        boto.SSLError(endpoint_url="https://ec2", error="CERTIFICATE_VERIFY_FAILED"),
        boto.NoCredentialsError(),
        boto.HTTPClientError(error=ValueError("Failed to parse: http://proxy:x")),
        boto.ParamValidationError(report="MaxCount"),
        CloudError(Fault(code="OutOfTime", message="", kind=FaultKind.TRANSIENT)),
    ],
)
def test_aws_has_certainly_made_nothing(error: Exception) -> None:
    assert refused(error)


@pytest.mark.parametrize(
    "error",
    [
        client_error("InternalError", 500),
        client_error("Unavailable", 503),
        client_error("RequestTimeout", 400),
        client_error("IdempotentParameterMismatch"),
        client_error("IdempotentInstanceTerminated"),
        client_error("AlreadyExists"),
        boto.ReadTimeoutError(endpoint_url="https://ec2"),
        boto.ConnectionClosedError(endpoint_url="https://ec2"),
        boto.SSLError(endpoint_url="https://ec2", error="bad record"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        boto.HTTPClientError(error=OSError("it broke off")),
        ResponseParserError("no XML"),
        OutcomeUnknown(Fault(code="InternalError", message="")),
    ],
)
def test_aws_may_have_done_it(error: Exception) -> None:
    assert not refused(error)


def test_a_fault_has_code_sentence_kind_and_subject() -> None:
    found = fault(
        client_error("InsufficientInstanceCapacity", 500, "We do not have\n sufficient capacity."), "m5.large"
    )

    assert found == Fault(
        code="InsufficientInstanceCapacity",
        message="We do not have sufficient capacity.",
        kind=FaultKind.CAPACITY,
        subject="m5.large",
    )


def test_what_never_reached_aws_is_transient_unless_the_credentials_are_the_reason() -> None:
    assert fault(boto.EndpointConnectionError(endpoint_url="https://ec2")).kind is FaultKind.TRANSIENT
    assert fault(boto.NoCredentialsError()).kind is FaultKind.PERMISSION
    assert fault(ResponseParserError("no XML")).kind is FaultKind.TRANSIENT


@pytest.mark.parametrize(
    "message",
    [
        "You are not authorized. Encoded authorization failure message: s3cret-blob",
        "The signature does not match.\n\nThe Canonical String for this request should have been\n's3cret-token'",
        "Invalid type for parameter UserData, value: s3cret\nexport, type: <class 'dict'>",
    ],
)
def test_no_secret_reaches_a_fault(message: str) -> None:
    assert "s3cret" not in as_fault("UnauthorizedOperation", message).message
    assert len(as_fault("InternalError", "x" * 2000).message) == 500


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ResponseParserError("invalid XML received: b'<SecretAccessKey>s3cret</SecretAccessKey>'"), "left out"),
        (boto.CredentialRetrievalError(provider="container-role", error_msg="500: s3cret"), "from container-role: "),
        (boto.MetadataRetrievalError(error_msg="s3cret"), "left out"),
        (boto.HTTPClientError(error="Invalid header value b's3cret\\r'"), "left out"),
        (
            boto.EndpointConnectionError(endpoint_url="http://u:s3cret@127.0.0.1:9/s3cret?k=s3cret"),
            '"http://127.0.0.1:9"',
        ),
        (boto.ReadTimeoutError(endpoint_url="https://u:s3cret@[::1]:9/s3cret"), '"https://[::1]:9"'),
        (
            boto.SSLError(endpoint_url="https://ec2/s3cret", error="CERTIFICATE_VERIFY_FAILED"),
            "CERTIFICATE_VERIFY_FAILED",
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_library_says_is_told_only_where_it_is_made_of_no_answer(error: Exception, told: str) -> None:
    assert told in fault(error).message
    assert "s3cret" not in str(fault(error))


@pytest.mark.parametrize(
    "message",
    [
        "The instance ID 'i-0123456789abcdef0' does not exist",
        "The instance IDs 'i-0123456789abcdef0' do not exist",
        "Invalid id: i-0123456789abcdef0.",
    ],
)
def test_unknown_ids_are_read_out_of_the_message(message: str) -> None:
    error = client_error("InvalidInstanceID.NotFound", 400, message)

    assert missing_instance_ids(error) == {"i-0123456789abcdef0"}


def test_several_unknown_ids_are_read_and_other_errors_name_none() -> None:
    text = "The instance IDs 'i-0aaaaaaaaaaaaaaa1, i-0bbbbbbb' do not exist"

    assert missing_instance_ids(as_fault("InvalidInstanceID.NotFound", text)) == {"i-0aaaaaaaaaaaaaaa1", "i-0bbbbbbb"}
    assert missing_instance_ids(as_fault("OperationNotPermitted", text)) == frozenset()
    assert named_instances("The instance 'i-0aaaaaaaaaaaaaaa1' may not be terminated.") == {"i-0aaaaaaaaaaaaaaa1"}


@pytest.mark.parametrize(
    ("code", "message", "lost"),
    [
        ("InvalidLaunchTemplateName.NotFoundException", "", True),
        ("InvalidLaunchTemplateId.NotFound", "", True),
        ("ValidationError", "You must use a valid launch template. The launch template x does not exist.", True),
        ("ValidationError", "The subnet ID 'subnet-1' does not exist", False),
        ("InvalidSubnetID.NotFound", "", False),
        ("InvalidLaunchTemplateName.AlreadyExistsException", "", False),
    ],
)
def test_a_lost_launch_template_is_told_from_other_losses(
    code: str,
    message: str,
    lost: bool,  # noqa: FBT001 - a table
) -> None:
    assert lost_launch_template(as_fault(code, message)) is lost


def test_asking_turns_an_error_of_aws_into_a_cloud_error_and_logs_the_aws_request_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = SimpleNamespace(logger=logging.getLogger("hfcore.test"))
    with pytest.raises(CloudError, match="UnauthorizedOperation"), asking(context, "fleet-1"):
        raise client_error("UnauthorizedOperation", 403)

    assert "aws-request-1" in caplog.text


def test_asking_leaves_errors_that_are_not_aws_s_alone() -> None:
    context = SimpleNamespace(logger=logging.getLogger("hfcore.test"))
    with pytest.raises(KeyError), asking(context):
        raise KeyError("a fault of ours")
    with pytest.raises(CloudError) as caught, asking(context):
        raise CloudError(Fault(code="NoRegion", message=""), hint="set `region`")
    assert caught.value.hint == "set `region`"
