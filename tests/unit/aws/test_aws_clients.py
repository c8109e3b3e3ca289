from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse

from hfcore.aws.clients import connect
from hfcore.config import Settings
from hfcore.errors import CloudError
from hfcore.models import FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.context import Clock
    from hfcore.testing.aws import StrictAws


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        conf_dir=tmp_path, work_dir=tmp_path, log_dir=tmp_path, provider="grid", region="us-east-1", call_timeout_sec=60
    )


def clients_of(
    settings: Settings, clock: Clock, *, endpoint: str = "", left: float = 60.0
) -> Callable[[str, str], Any]:
    deadline = clock.monotonic() + left
    return connect(settings=settings, region=settings.region, endpoint=endpoint, clock=clock, deadline=deadline)


def test_there_is_one_client_for_each_service_and_patience(settings: Settings, clock: Clock) -> None:
    clients = clients_of(settings, clock)

    assert clients("ec2", "patient") is clients("ec2", "patient")
    assert clients("ec2", "patient") is not clients("ec2", "quick")


def test_a_quick_client_sends_once_and_a_patient_one_four_times(settings: Settings, clock: Clock) -> None:
    clients = clients_of(settings, clock)

    def attempts(patience: str, chosen: Callable[[str, str], Any] = clients) -> int:
        return int(chosen("sts", patience).meta.config.retries["total_max_attempts"])

    assert (attempts("quick"), attempts("patient")) == (1, 4)
    fewer = clients_of(replace(settings, request_retry_attempts=1), clock)
    assert (attempts("quick", fewer), attempts("patient", fewer)) == (1, 2)


@pytest.mark.parametrize(("whole", "connecting", "reading"), [(60, 10.0, 15.0), (24, 4.0, 6.0), (240, 10.0, 15.0)])
def test_the_time_outs_fit_several_times_into_a_call(
    settings: Settings, clock: Clock, whole: int, connecting: float, reading: float
) -> None:
    config = clients_of(replace(settings, call_timeout_sec=whole), clock)("sts", "quick").meta.config

    assert (config.connect_timeout, config.read_timeout) == (connecting, reading)


def test_the_endpoint_is_ec2_s_alone(settings: Settings, clock: Clock) -> None:
    clients = clients_of(settings, clock, endpoint="https://ec2.example")

    assert clients("ec2", "quick").meta.endpoint_url == "https://ec2.example"
    assert clients("sts", "quick").meta.endpoint_url == "https://sts.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2026-11-28T03:19:04.000Z", datetime(2026, 11, 28, 3, 19, 4, tzinfo=UTC)),
        ("2026-11-28T03:19:04Z", datetime(2026, 11, 28, 3, 19, 4, tzinfo=UTC)),
        ("2026-11-28T04:19:04+01:00", datetime(2026, 11, 28, 3, 19, 4, tzinfo=UTC)),
        ("Sat, 28 Nov 2026 03:19:04 GMT", datetime(2026, 11, 28, 3, 19, 4, tzinfo=UTC)),
        ("1795835944", datetime(2026, 11, 28, 3, 19, 4, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_each_form_that_aws_writes(
    settings: Settings, clock: Clock, strict_aws: StrictAws, monkeypatch: pytest.MonkeyPatch, told: str, meant: datetime
) -> None:
    for name, value in strict_aws.environment().items():
        monkeypatch.setenv(name, value)
    client = clients_of(settings, clock)("ec2", "quick")
    item = f"<item><launchTime>{told}</launchTime></item>"
    body = f"<R><reservationSet><item><instancesSet>{item}</instancesSet></item></reservationSet></R>"

    def answer(**_: object) -> AWSResponse:
        response = AWSResponse("", 200, {}, None)
        response._content = body.encode()
        return response

    client.meta.events.register_first("before-send", answer)

    assert client.describe_instances()["Reservations"][0]["Instances"][0]["LaunchTime"] == meant


def test_nothing_is_sent_when_the_answer_could_come_after_the_deadline(
    settings: Settings,
    clock: Clock,
    pass_time: Callable[[float], None],
    strict_aws: StrictAws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in strict_aws.environment().items():
        monkeypatch.setenv(name, value)
    clients = clients_of(settings, clock, left=40.0)
    clients("ec2", "patient").describe_vpcs()
    pass_time(16.0)
    for patience in ("patient", "quick"):
        with pytest.raises(CloudError, match="OutOfTime") as caught:
            clients("ec2", patience).describe_vpcs()
        assert caught.value.fault.kind is FaultKind.TRANSIENT

    assert len(strict_aws.calls) == 1


def test_an_aws_that_does_not_answer_takes_no_longer_than_the_call_may(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        chosen = replace(settings, call_timeout_sec=2)
        started = time.monotonic()
        with pytest.raises(Exception, match=r"OutOfTime|timeout"):
            clients_of(chosen, clock, endpoint=url, left=2.0)("ec2", "patient").describe_vpcs()

    assert time.monotonic() - started < 4.0


def test_the_credentials_come_from_ibm_s_file_and_the_proxy_from_the_settings(
    settings: Settings, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIAFROMFILE\naws_secret_access_key = key\n")
    chosen = replace(settings, credential_file=str(file), proxy_host="proxy.example", proxy_port=3128)
    client = clients_of(chosen, clock)("sts", "quick")

    assert client._request_signer._credentials.access_key == "AKIAFROMFILE"
    assert client.meta.config.proxies == {"http": "http://proxy.example:3128", "https": "http://proxy.example:3128"}


ROLE = """<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>
<SecretAccessKey>key</SecretAccessKey><SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""


def test_a_role_is_assumed_in_the_region_and_through_the_proxy_of_the_settings(
    settings: Settings, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "config"
    file.write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/grid\nsource_profile = own\n"
        "[profile own]\naws_access_key_id = AKIAOWN\naws_secret_access_key = key\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://sts.invalid")
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path + self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ROLE.encode())

    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.handle_request, daemon=True).start()
        chosen = replace(settings, proxy_host="127.0.0.1", proxy_port=proxy.server_port)
        client = clients_of(chosen, clock)("ec2", "quick")

    assert client._request_signer._credentials.access_key == "ASIAROLE"
    assert client.meta.config.retries["total_max_attempts"] == 1
    assert asked[0].startswith("http://sts.invalid/")
    assert "/us-east-1/sts/" in asked[0]


def test_a_credential_file_that_is_missing_is_named(settings: Settings, clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"No such file or directory: .*nowhere.* correct `credential_file`"):
        clients_of(replace(settings, credential_file=str(tmp_path / "nowhere")), clock)("ec2", "quick")


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AWS_ENDPOINT_URL", "nowhere", "InvalidEndpoint .*: nowhere .*correct AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "ftp://nowhere", "InvalidEndpoint .*correct AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "http://user:s3cret@nowhere:99999", "InvalidEndpoint .*correct AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL_EC2", "user:s3cret@nowhere", "InvalidEndpoint .*AWS_ENDPOINT_URL_EC2"),
        ("AWS_PROFILE", "nobody", r"ProfileNotFound: .*\(nobody\).* correct AWS_PROFILE"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "never", "InvalidConfigError .*never.* what the message names"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token", "CredentialRetrievalError: .*/nowhere/token.* correct"),
        ("AWS_CONFIG_FILE", "missing-program", "CredentialRetrievalError: .*/nowhere/program.*credential_process"),
        ("AWS_CONFIG_FILE", "no-json", "CredentialRetrievalError: .*credential_process"),
    ],
)
def test_what_keeps_a_client_from_being_made_is_told_with_what_to_correct(
    settings: Settings,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    told: str,
) -> None:
    for name, command in (("missing-program", "/nowhere/program"), ("no-json", "/bin/echo s3cret")):
        (tmp_path / name).write_text(f"[default]\ncredential_process = {command}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/grid")
    monkeypatch.setenv(variable, str(tmp_path / value) if variable == "AWS_CONFIG_FILE" else value)
    with pytest.raises(CloudError, match=told) as caught:
        clients_of(settings, clock)("ec2", "quick")

    assert caught.value.fault.kind in {FaultKind.INVALID, FaultKind.PERMISSION}
    assert "s3cret" not in str(caught.value)


def test_a_missing_region_is_said_with_the_setting_that_lacks(settings: Settings, clock: Clock) -> None:
    with pytest.raises(CloudError, match=r"no AWS region.*set `region`"):
        clients_of(replace(settings, region=""), clock)("ec2", "quick")


def test_where_credentials_stand_elsewhere_the_metadata_service_is_not_asked(
    settings: Settings, clock: Clock, strict_aws: StrictAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as metadata:
        metadata.setblocking(False)  # noqa: FBT003 - socket's
        place = f"http://127.0.0.1:{metadata.getsockname()[1]}"
        more = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": place}
        for name, value in (strict_aws.environment() | more).items():
            monkeypatch.setenv(name, value)
        clients_of(settings, clock)("ec2", "patient").describe_vpcs()
        with pytest.raises(BlockingIOError):
            metadata.accept()
