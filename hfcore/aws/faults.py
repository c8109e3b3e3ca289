"""Own the table of AWS's error codes: what each means, and what a person does about it. Data; `errors` reads it."""

from __future__ import annotations

from dataclasses import dataclass

from hfcore.models import FaultKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What some codes mean.

    Args:
        kind: What they mean for what hfcore does next.
        codes: The codes, as AWS or botocore names them; in a family that AWS keeps enlarging, `*` stands for anything.
        means: What is the case, a sentence for people; empty where AWS's own says it all.
        remedy: What a person does now; what needs nobody says so.
    """

    kind: FaultKind
    codes: tuple[str, ...]
    means: str
    remedy: str

    @property
    def hint(self) -> str:
        """Give both as what stands behind AWS's own sentence."""
        return ": ".join(part for part in (self.means, self.remedy) if part)


def _rows(kind: FaultKind, *rows: tuple[str, str, str]) -> tuple[Meaning, ...]:
    return tuple(
        Meaning(kind=kind, codes=tuple(codes.split()), means=means, remedy=remedy) for codes, means, remedy in rows
    )


NEXT = {
    FaultKind.CAPACITY: "the next pool of the template at once; a pool that was short is tried last for 3 minutes",
    FaultKind.THROTTLE: "the same call twice more, after pauses of about 1 and 2 s; then at the next call",
    FaultKind.TRANSIENT: "the same call once more, with its token; then at the next call",
    FaultKind.PERMISSION: "nothing until somebody has changed the rights or the credentials",
    FaultKind.INVALID: "nothing: the same call would be refused again",
    FaultKind.QUOTA: "the next pool of the template, whose market or type may have a limit of its own",
    FaultKind.GONE: "goes on without it; a launch template that is gone is made anew",
    FaultKind.UNKNOWN: "nothing: the call counts as refused where AWS has refused it",
}
"""What hfcore does by itself, by kind."""

# EC2 API reference, "Error codes"; Auto Scaling's operations and common errors; the codes that EC2 Fleet puts into
# `Errors`; botocore's exceptions. Capacity means: another pool may have it, so the type that a zone does not offer
# (`Unsupported`) is among it.
MEANINGS: tuple[Meaning, ...] = (
    *_rows(
        FaultKind.CAPACITY,
        (
            "InsufficientInstanceCapacity InsufficientCapacity UnfulfillableCapacity",
            "AWS has no more such machines there now",
            "nothing, or name more vmTypes or subnets in other zones",
        ),
        (
            "InsufficientHostCapacity InsufficientReservedInstanceCapacity ReservationCapacityExceeded",
            "the host or the reservation is full",
            "enlarge it, or let the template launch outside of it",
        ),
        ("InsufficientVolumeCapacity", "the zone has no more of this volume type now", "choose another volumeType"),
        ("InsufficientAddressCapacity", "AWS has no more addresses now", "nothing: it is asked for again"),
        (
            "InsufficientFreeAddressesInSubnet",
            "the subnet has too few free addresses",
            "name more subnets, or a larger one",
        ),
        (
            "SpotMaxPriceTooLow launchSpecUnusable",
            "Spot costs more than the template pays",
            "raise maxSpotPrice, or leave it out",
        ),
        ("Unsupported", "this zone does not offer what is asked for", "name other vmTypes or subnets"),
    ),
    *_rows(
        FaultKind.QUOTA,
        (
            "InstanceLimitExceeded VcpuLimitExceeded",
            "the account may not run more machines of this family here",
            "have the quota raised (Service Quotas, EC2), or lower maxNumber",
        ),
        (
            "MaxSpotInstanceCountExceeded SpotInstanceCountLimitExceeded",
            "the account may not run more Spot machines here",
            "have the Spot quota raised (Service Quotas, EC2), or lower maxNumber",
        ),
        (
            "MaxFleetCountExceeded MaxSpotFleetRequestCountExceeded",
            "the account has as many fleets as it may",
            "delete unused ones, or have the quota raised",
        ),
        (
            "VolumeLimitExceeded MaxIOPSLimitExceeded",
            "the account may have no more of this storage here",
            "have the EBS quota raised, or choose smaller volumes",
        ),
        ("AddressLimitExceeded", "the account may have no more addresses", "have the quota raised"),
        (
            "*LimitExceeded *CountExceeded",
            "a limit of the account is reached",
            "have the quota raised that AWS names, or delete what is unused",
        ),
    ),
    *_rows(
        FaultKind.THROTTLE,
        (
            """RequestLimitExceeded Throttling ThrottlingException ThrottledException RequestThrottled
            TooManyRequestsException RequestThrottledException EC2ThrottledException SlowDown BandwidthLimitExceeded
            PriorRequestNotComplete""",
            "the account asks AWS too fast",
            "nothing: it is asked again; if it lasts, look for who else asks in this account",
        ),
        (
            "ResourceContention",
            "another change of the same group is under way",
            "nothing: it is asked again",
        ),
    ),
    *_rows(
        FaultKind.TRANSIENT,
        (
            """InternalError InternalFailure InternalServerError ServiceUnavailable ServiceUnavailableException
            Unavailable RequestTimeout RequestTimeoutException unexpectedError""",
            "AWS itself has failed",
            "nothing: it is asked again; if it lasts, see the AWS Health Dashboard",
        ),
        (
            """ConcurrentTagAccess ScalingActivityInProgress ResourceInUse fleetNotInDeletableState
            fleetRequestNotInCancellableState""",
            "another change is under way there",
            "nothing: it is tried again at the next call",
        ),
        (
            "EndpointConnectionError ConnectTimeoutError ConnectionError HTTPClientError",
            "AWS can't be reached from this host",
            "check name service, routes and firewalls to the endpoint, `proxy_host` or HTTPS_PROXY: `hfcore doctor`",
        ),
        (
            "ProxyConnectionError",
            "the proxy can't be reached",
            "correct `proxy_host` and `proxy_port`, or HTTPS_PROXY",
        ),
        (
            "SSLError",
            "the endpoint's certificate is not trusted, or the connection broke off",
            "let AWS_CA_BUNDLE name the certificates of a proxy that looks into connections",
        ),
        (
            "ReadTimeoutError ConnectionClosedError IncompleteReadError ResponseParserError ResponseStreamingError",
            "AWS did not answer to the end",
            "nothing: what was asked for is looked for at the next call",
        ),
    ),
    *_rows(
        FaultKind.PERMISSION,
        (
            "UnauthorizedOperation AccessDenied AccessDeniedException",
            "the credentials may not do this",
            "attach the policy that `hfcore iam-policy` prints; `hfcore doctor` names what lacks",
        ),
        (
            "AuthFailure UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId",
            "AWS does not know these credentials, or they may not do this here",
            "check the access key and that the region is enabled for the account",
        ),
        (
            "SignatureDoesNotMatch IncompleteSignature",
            "the secret key is wrong",
            "correct it in the credential file, or in the environment",
        ),
        (
            "ExpiredToken ExpiredTokenException",
            "the credentials have expired",
            "renew them, or use an instance role, which renews itself",
        ),
        (
            "RequestExpired RequestTimeTooSkewed",
            "this host's clock is wrong",
            "set it by NTP: AWS refuses what is signed more than 5 minutes off",
        ),
        ("OptInRequired", "the account is not signed up for this", "enable the service or the region in the account"),
        (
            "OperationNotPermitted",
            "AWS forbids it on this resource, such as one protected from termination",
            "take the protection away",
        ),
        ("Blocked PendingVerification", "AWS has blocked the account, or verifies it", "ask AWS Support"),
        (
            "ServiceLinkedRoleFailure AuthFailure.ServiceLinkedRoleCreationNotPermitted",
            "the service-linked role can't be used or made",
            "allow iam:CreateServiceLinkedRole, as `hfcore iam-policy` has it, or make the role once",
        ),
        (
            "iamFleetRoleInvalid",
            "the fleet's role may not launch or end machines",
            "let the role attach AmazonEC2SpotFleetTaggingRole and trust spotfleet.amazonaws.com, or correct fleetRole",
        ),
        (
            "Client.InternalError InvalidKMSKey.InvalidState",
            "EC2 can't use the KMS key of an encrypted image or volume: it has no grant, or the key is disabled",
            "enable it, and let its policy allow kms:CreateGrant to who launches, such as a service-linked role",
        ),
        (
            "MissingAuthenticationToken NoCredentialsError PartialCredentialsError",
            "there are no whole credentials",
            "give the host an instance role, or set `credential_file` to one that hfcore's user can read",
        ),
        (
            "CredentialRetrievalError TokenRetrievalError UnauthorizedSSOTokenError SSOTokenLoadError",
            "the credentials can't be fetched",
            "correct `credential_file`, AWS_WEB_IDENTITY_TOKEN_FILE or credential_process; try it as hfcore's user",
        ),
        (
            "MetadataRetrievalError",
            "the metadata service gives no credentials",
            "give the host an instance role, and let it reach 169.254.169.254, or AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
    ),
    *_rows(
        FaultKind.GONE,
        ("ParameterNotFound", "the image's SSM parameter is not there", "correct imageId"),
        (
            "IdempotentInstanceTerminated",
            "what this call had launched has ended since",
            "nothing: Host Factory asks anew",
        ),
        ("fleetIdDoesNotExist fleetRequestIdDoesNotExist", "the fleet is no more", "nothing"),
        ("NoSuchEntity", "IAM does not have the role or profile", "correct instanceProfile or fleetRole"),
        (
            "AWS.SimpleQueueService.NonExistentQueue QueueDoesNotExist",
            "the queue is not there",
            "correct `reclaim_queue_url`, or leave it out",
        ),
        (
            "*NotFound* *DoesNotExist*",
            "AWS does not have what is named, in this account and region",
            "correct the template; `hfcore doctor` checks each thing that it names",
        ),
    ),
    *_rows(
        FaultKind.INVALID,
        ("TagLimitExceeded", "an instance may have 50 tags", "shorten instanceTags"),
        (
            "IdempotentParameterMismatch",
            "an earlier call with this token asked for something else",
            "nothing: what it has made is looked for",
        ),
        (
            "ProfileNotFound ConfigParseError InvalidConfigError Invalid*Error",
            "AWS's own configuration on this host is wrong",
            "correct AWS_PROFILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE, or what the message names",
        ),
        (
            "InvalidEndpoint",
            "the endpoint is no URL of a service",
            "correct AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_EC2 and the like, or `endpoint_url`: it begins with https://",
        ),
        (
            """ValidationError FilterLimitExceeded RequestResourceCountExceeded ParamValidationError
            UnsupportedOperation Invalid* Missing* Malformed* Unknown*""",
            "AWS does not take the request so",
            "correct what AWS names; `hfcore templates validate` and `hfcore doctor` check the template",
        ),
        (
            "IncorrectInstanceState DependencyViolation fleetIdMalformed fleetRequestIdMalformed",
            "it is not in a state that allows this",
            "nothing, unless it lasts: then see it in the AWS console",
        ),
        ("NoRegion NoRegionError", "no region is set", "set `region` in hfcore.toml, or AWS_REGION"),
    ),
)
