"""How settings are found, read, checked and traced to where they come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.config import SETTINGS, WITHOUT_EFFECT, Settings, find_folders, load_settings
from hfcore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """A provider instance as `hfcore init` lays it out, without any file."""
    for name in ("conf", "work", "log"):
        (tmp_path / "aws1" / name).mkdir(parents=True)
    return tmp_path / "aws1"


def write_ibm(instance: Path, name: str = "awsprov_config.json", **content: object) -> None:
    (instance / "conf" / name).write_text(json.dumps(content))


def write_toml(instance: Path, text: str) -> None:
    (instance / "conf" / "hfcore.toml").write_text(text)


def load(instance: Path, flags: dict[str, str] | None = None, /, **environ: str) -> Settings:
    return load_settings(environ=environ, provider=str(instance), flags=flags or {})


def refusal(instance: Path, flags: dict[str, str] | None = None, /, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(instance, flags, **environ)
    return caught.value


def test_an_instance_without_any_file_has_every_default(instance: Path) -> None:
    settings = load(instance)

    for name, setting in SETTINGS.items():
        if not setting.placed:
            assert getattr(settings, name) == setting.default, name
            assert settings.origin(name) == "default"
    assert settings.region == ""
    assert settings.instance_pending_timeout_sec == 180
    assert settings.request_retry_attempts is None


def test_the_sample_of_ibms_file_is_read_unedited(instance: Path) -> None:
    (instance / "conf" / "awsprov_config.json").write_bytes((SAMPLES / "awsprov_config.json").read_bytes())

    settings = load(instance)

    assert (settings.region, settings.connection_timeout_ms, settings.request_retry_attempts) == (
        "us-east-1",
        10_000,
        2,
    )
    assert settings.origin("region") == "awsprov_config.json"
    assert settings.warnings == ()


def test_a_flag_wins_over_a_variable_over_our_file_over_ibms_file_over_others_over_the_default(instance: Path) -> None:
    def found(flags: dict[str, str] | None = None, **environ: str) -> tuple[str, str]:
        settings = load(instance, flags, **environ)
        return settings.region, settings.origin("region")

    assert found() == ("", "default")
    assert found(AWS_DEFAULT_REGION="r-1") == ("r-1", "AWS_DEFAULT_REGION")
    assert found(AWS_DEFAULT_REGION="r-1", AWS_REGION="r-2") == ("r-2", "AWS_REGION")
    write_ibm(instance, AWS_REGION="r-3")
    assert found(AWS_REGION="r-2") == ("r-3", "awsprov_config.json")
    write_toml(instance, 'region = "r-4"')
    assert found(AWS_REGION="r-2") == ("r-4", "hfcore.toml")
    assert found(HFCORE_REGION="r-5") == ("r-5", "HFCORE_REGION")
    assert found({"region": "r-6"}, HFCORE_REGION="r-5") == ("r-6", "--region")


def test_every_setting_can_be_set_by_its_variable_and_in_our_file(instance: Path) -> None:
    examples: dict[str, tuple[str, str, object]] = {
        "region": ("eu-west-1", '"eu-west-1"', "eu-west-1"),
        "endpoint_url": ("http://127.0.0.1:5000", '"http://127.0.0.1:5000"', "http://127.0.0.1:5000"),
        "credential_file": ("/etc/aws", '"/etc/aws"', "/etc/aws"),
        "proxy_host": ("proxy.example", '"proxy.example"', "proxy.example"),
        "proxy_port": ("3128", "3128", 3128),
        "connection_timeout_ms": ("2000", "2000", 2000),
        "request_retry_attempts": ("0", "0", 0),
        "instance_pending_timeout_sec": ("600", '"600"', 600),
        "request_expiry_minutes": ("45", "45", 45),
        "call_timeout_sec": ("20", "20", 20),
        "lock_timeout_sec": ("5", "5", 5),
        "fallback": ("ERROR", '"error"', "error"),
        "plugins": (
            "ASG=hfcore-aws-asg, X=y",
            '{ASG = "hfcore-aws-asg", X = "y"}',
            {"ASG": "hfcore-aws-asg", "X": "y"},
        ),
        "disabled_plugins": ("ASG, SpotFleet", '["ASG", "SpotFleet"]', ("ASG", "SpotFleet")),
        "host_name": ("tag:Name", '"tag:Name"', "tag:Name"),
        "owner": ("team-a", '"team-a"', "team-a"),
        "retention_hours": ("48", "48", 48),
        "reconcile_minutes": ("0", "0", 0),
        "reclaim_queue_url": ("https://sqs.example/1/q", '"https://sqs.example/1/q"', "https://sqs.example/1/q"),
        "rebalance_recommendations": ("true", "true", True),
        "trace_plugins": ("1", "true", True),
        "log_level": ("LOG_WARN", '"warning"', "warning"),
        "log_max_file_size_mb": ("1", "1", 1),
        "log_max_rotate": ("0", "0", 0),
    }
    assert examples.keys() == {name for name, setting in SETTINGS.items() if not setting.placed}

    by_variable = load(instance, **{f"HFCORE_{name.upper()}": text for name, (text, _, _) in examples.items()})
    write_toml(instance, "\n".join(f"{name} = {toml}" for name, (_, toml, _) in examples.items()))
    by_file = load(instance)

    for name, (_, _, expected) in examples.items():
        assert getattr(by_variable, name) == expected, name
        assert by_variable.origin(name) == f"HFCORE_{name.upper()}"
        assert getattr(by_file, name) == expected, name
        assert by_file.origin(name) == "hfcore.toml"


def test_every_key_of_ibms_file_is_known(instance: Path) -> None:
    write_ibm(
        instance,
        AWS_REGION="us-east-1",
        AWS_CREDENTIAL_FILE="credentials",
        AWS_ENDPOINT_URL="https://ec2.us-east-1.amazonaws.com",
        AWS_KEY_FILE="/keys",
        AWS_PROXY_HOST="",
        AWS_PROXY_PORT=None,
        AWS_CONNECTION_TIMEOUT_MS="5000",
        AWS_REQUEST_RETRY_ATTEMPTS=10,
        AWS_INSTANCE_PENDING_TIMEOUT_SEC=10_000,
        AWS_DESCRIBE_REQUEST_RETRY_ATTEMPTS=2,
        AWS_DESCRIBE_REQUEST_INTERVAL=500,
        ACCEPT_PROPAGATED_LOG_SETTING=True,
    )

    settings = load(instance)

    assert settings.warnings == ()
    assert set(settings.without_effect) == set(WITHOUT_EFFECT)
    assert settings.connection_timeout_ms == 5000
    assert settings.credential_file == str(instance / "conf" / "credentials")
    assert (settings.proxy_host, settings.proxy_port) == ("", None)
    assert settings.origin("proxy_host") == "default"


def test_an_unknown_key_in_ibms_file_is_a_warning_that_names_the_right_one_but_not_the_value(instance: Path) -> None:
    write_ibm(instance, AWS_REGON="us-east-1", SECRET_ACCESS_KEY="hush")

    first, second = load(instance).warnings

    assert "awsprov_config.json: AWS_REGON is not known" in first
    assert "did you mean AWS_REGION?" in first
    assert "SECRET_ACCESS_KEY" in second
    assert "hush" not in second


def test_an_unknown_key_in_our_file_is_an_error_that_names_the_right_one(instance: Path) -> None:
    write_toml(instance, "retention_hour = 3")

    error = refusal(instance)

    assert "hfcore.toml: retention_hour is not a setting" in error.message
    assert error.hint == "did you mean retention_hours?"


def test_folders_can_not_be_set_in_a_file_that_lies_in_one_of_them(instance: Path) -> None:
    write_toml(instance, 'work_dir = "/elsewhere"')

    assert "work_dir can't be set here" in refusal(instance).message


def test_an_unknown_flag_is_refused(instance: Path) -> None:
    assert "--regoin is not a setting" in refusal(instance, {"regoin": "x"}).message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("region", "us east", "a region"),
        ("endpoint_url", "ec2.amazonaws.com", "http://"),
        ("proxy_port", "0", "from 1 to 65535"),
        ("proxy_port", "http", "from 1 to 65535"),
        ("connection_timeout_ms", "1.5", "a whole number"),
        ("connection_timeout_ms", "1_000", "a whole number"),
        ("request_retry_attempts", "11", "from 0 to 10"),
        ("request_retry_attempts", "-1", "from 0 to 10"),
        ("instance_pending_timeout_sec", "179", "from 180 to 10000"),
        ("instance_pending_timeout_sec", "10001", "from 180 to 10000"),
        ("call_timeout_sec", "241", "from 1 to 240"),
        ("fallback", "EC2Fleet", "RunInstances or error"),
        ("plugins", "ASG", "A=dist,B=dist"),
        ("plugins", "ASG=", "A=dist,B=dist"),
        ("host_name", "publicDns", "tag:KEY"),
        ("host_name", "tag:", "tag:KEY"),
        ("owner", "team-*", "at most 256"),
        ("log_level", "LOUD", "debug, info, warning or error"),
    ],
)
def test_a_bad_value_is_refused_with_variable_value_and_what_is_allowed(
    instance: Path, name: str, value: str, allowed: str
) -> None:
    variable = f"HFCORE_{name.upper()}"

    message = refusal(instance, **{variable: value}).message

    assert message.startswith(f"{variable} is '{value}', and must be")
    assert allowed in message


@pytest.mark.parametrize(
    ("toml", "name"),
    [
        ("call_timeout_sec = true", "call_timeout_sec"),
        ("call_timeout_sec = 10.0", "call_timeout_sec"),
        ("region = 5", "region"),
        ("disabled_plugins = [1]", "disabled_plugins"),
        ('plugins = ["ASG"]', "plugins"),
        ("[plugins]\nASG = 1", "plugins"),
        ("log_level = 1", "log_level"),
    ],
)
def test_a_value_of_the_wrong_type_in_our_file_is_refused_with_file_and_key(
    instance: Path, toml: str, name: str
) -> None:
    write_toml(instance, toml)

    assert f"{instance / 'conf' / 'hfcore.toml'}: {name} is " in refusal(instance).message


def test_a_bad_value_in_ibms_file_is_refused_with_file_and_key(instance: Path) -> None:
    write_ibm(instance, AWS_REQUEST_RETRY_ATTEMPTS=11)

    message = refusal(instance).message

    assert f"{instance / 'conf' / 'awsprov_config.json'}: AWS_REQUEST_RETRY_ATTEMPTS is 11" in message
    assert "from 0 to 10" in message


@pytest.mark.parametrize("name", ["HFCORE_ENDPOINT_URL", "HFCORE_PROXY_HOST"])
def test_a_password_in_an_address_is_refused_without_showing_it(instance: Path, name: str) -> None:
    message = refusal(instance, **{name: "http://user:hu/sh@proxy:3128"}).message

    assert "without user and password" in message
    assert "hu/" not in message
    assert "sh@" not in message


def test_a_variable_that_is_empty_is_not_set(instance: Path) -> None:
    write_toml(instance, 'region = "us-east-1"\nowner = ""')

    settings = load(instance, HFCORE_REGION="", HFCORE_PROXY_PORT="")

    assert (settings.region, settings.proxy_port, settings.origin("owner")) == ("us-east-1", None, "default")


def test_the_environments_endpoint_for_all_services_is_left_to_the_toolkit(instance: Path) -> None:
    assert load(instance, AWS_ENDPOINT_URL="http://127.0.0.1:1").endpoint_url == ""


@pytest.mark.parametrize(
    ("word", "level"), [("LOG_DEBUG", "debug"), ("LOG_INFO", "info"), ("LOG_WARN", "warning"), ("LOG_ERROR", "error")]
)
def test_host_factorys_log_variables_hold(instance: Path, word: str, level: str) -> None:
    settings = load(instance, HF_LOGLEVEL=word, HF_LOG_MAX_FILE_SIZE="3", HF_LOG_MAX_ROTATE="7")

    assert (settings.log_level, settings.log_max_file_size_mb, settings.log_max_rotate) == (level, 3, 7)
    assert settings.origin("log_level") == "HF_LOGLEVEL"


def test_a_log_level_that_only_host_factory_knows_stops_nothing(instance: Path) -> None:
    settings = load(instance, HF_LOGLEVEL="LOG_TRACE")

    assert settings.log_level == "info"
    assert settings.origin("log_level") == "default"
    assert "HF_LOGLEVEL is 'LOG_TRACE'" in settings.warnings[0]


def test_of_several_files_of_ibms_form_the_one_of_the_instance_is_read(instance: Path) -> None:
    write_ibm(instance, "otherprov_config.json", AWS_REGION="r-1")
    write_ibm(instance, "aws1prov_config.json", AWS_REGION="r-2")

    assert load(instance).region == "r-2"


def test_several_files_of_ibms_form_of_which_none_is_the_instances_are_refused(instance: Path) -> None:
    write_ibm(instance, "awsprov_config.json", AWS_REGION="r-1")
    write_ibm(instance, "otherprov_config.json", AWS_REGION="r-2")

    message = refusal(instance).message

    assert "awsprov_config.json, otherprov_config.json" in message


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("awsprov_config.json", b'{"AWS_REGION":\n  }', "line 2 column 3"),
        ("awsprov_config.json", b"[]", "one JSON object"),
        ("awsprov_config.json", b'{"a": "\xff"}', "'utf-8' codec"),
        ("hfcore.toml", b"region =\n", "line 1"),
        ("hfcore.toml", b"\xff", "not TOML"),
    ],
)
def test_a_file_that_can_not_be_parsed_is_named_with_the_place(
    instance: Path, name: str, data: bytes, said: str
) -> None:
    (instance / "conf" / name).write_bytes(data)

    message = refusal(instance).message

    assert str(instance / "conf" / name) in message
    assert said in message


def test_a_file_written_by_a_windows_editor_is_read(instance: Path) -> None:
    (instance / "conf" / "awsprov_config.json").write_bytes(b'\xef\xbb\xbf{"AWS_REGION": "us-east-1"}\r\n')

    assert load(instance).region == "us-east-1"


def test_a_file_that_can_not_be_read_is_named_with_the_reason(instance: Path) -> None:
    (instance / "conf" / "hfcore.toml").mkdir()

    assert "hfcore.toml can't be read: Is a directory" in refusal(instance).message


HOST_FACTORY = {
    "HF_PROVIDER_NAME": "hf1",
    "HF_PROVIDER_CONFDIR": "/hf/conf",
    "HF_PROVIDER_WORKDIR": "/hf/work",
    "HF_PROVIDER_LOGDIR": "/hf/log",
}
LSF = {
    "PROVIDER_NAME": "lsf1",
    "PRO_CONF_DIR": "/lsf/conf",
    "PRO_DATA_DIR": "/lsf/data",
    "PRO_LSF_LOGDIR": "/lsf/log",
}
SERVICE = {"HF_CONFDIR": "/svc/conf", "HF_WORKDIR": "/svc/work", "HF_LOGDIR": "/svc/log"}
OWN = {"HFCORE_CONF_DIR": "/own/conf", "HFCORE_WORK_DIR": "/own/work", "HFCORE_LOG_DIR": "/own/log"}


def found_folders(environ: Mapping[str, str], provider: str | None = None) -> tuple[str, ...]:
    folders = find_folders(environ, provider)
    return (folders.provider, str(folders.conf_dir), str(folders.work_dir), str(folders.log_dir))


def test_host_factorys_own_variables_win_over_all_others() -> None:
    environ = {**OWN, **SERVICE, **LSF, **HOST_FACTORY}

    assert found_folders(environ) == ("hf1", "/hf/conf", "/hf/work", "/hf/log")
    assert find_folders(environ).origins["work_dir"] == "HF_PROVIDER_WORKDIR"


def test_lsfs_variables_come_next() -> None:
    assert found_folders({**OWN, **SERVICE, **LSF}) == ("lsf1", "/lsf/conf", "/lsf/data/lsf1", "/lsf/log")


def test_lsfs_folder_of_a_provider_has_the_files_in_conf_beneath_it(tmp_path: Path) -> None:
    (tmp_path / "aws" / "conf").mkdir(parents=True)

    for given in (tmp_path / "aws", tmp_path / "aws" / "conf"):
        assert found_folders({**LSF, "PRO_CONF_DIR": str(given)})[1] == str(tmp_path / "aws" / "conf")


def test_lsfs_providers_share_a_folder_of_data_and_none_has_anothers() -> None:
    found = {found_folders({**LSF, "PROVIDER_NAME": name})[2] for name in ("aws1", "aws2")}

    assert found == {"/lsf/data/aws1", "/lsf/data/aws2"}
    assert found_folders({key: path for key, path in LSF.items() if key != "PROVIDER_NAME"})[2] == "/lsf/data"


def test_the_services_variables_hold_for_the_named_instance() -> None:
    expected = ("n", "/svc/conf/providers/n", "/svc/work/providers/n", "/svc/log/providers/n")

    assert found_folders({**OWN, **SERVICE, "HF_PROVIDER_NAME": "n"}) == expected


def test_the_services_variables_alone_name_no_instance() -> None:
    with pytest.raises(ConfigError, match="no provider instance"):
        find_folders(SERVICE)


def test_the_folders_of_the_laid_out_scripts_come_last_and_their_parent_names_the_instance() -> None:
    assert found_folders(OWN) == ("own", "/own/conf", "/own/work", "/own/log")


def test_each_folder_is_found_by_itself() -> None:
    environ = {**OWN, "HF_PROVIDER_CONFDIR": "/hf/conf"}

    assert found_folders(environ) == ("hf", "/hf/conf", "/own/work", "/own/log")


def test_a_folder_given_by_a_person_wins_over_the_environment(instance: Path) -> None:
    expected = ("aws1", str(instance / "conf"), str(instance / "work"), str(instance / "log"))

    assert found_folders(HOST_FACTORY, str(instance)) == expected
    assert load(instance, **HOST_FACTORY).origin("conf_dir") == "--provider"


def test_a_name_given_by_a_person_is_looked_for_where_host_factory_keeps_its_instances() -> None:
    expected = ("n", "/svc/conf/providers/n", "/svc/work/providers/n", "/svc/log/providers/n")

    assert found_folders({**HOST_FACTORY, **SERVICE}, "n") == expected


def test_a_bare_name_is_a_folder_here_where_host_factory_is_not(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(instance.parent)

    assert found_folders({}, "aws1")[1] == str(instance / "conf")
    assert found_folders({}, "./aws1")[1] == str(instance / "conf")


def test_a_bare_name_is_host_factorys_instance_even_where_a_folder_here_has_the_name(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(instance.parent)

    assert found_folders(SERVICE, "aws1")[1] == "/svc/conf/providers/aws1"
    assert found_folders(SERVICE, "./aws1")[1] == str(instance / "conf")


def test_a_name_that_nothing_knows_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"--provider nowhere.*HF_CONFDIR") as caught:
        find_folders({}, "nowhere")

    assert "hfcore init" in caught.value.hint


def test_without_any_folder_the_hint_names_the_flag_and_init() -> None:
    with pytest.raises(ConfigError, match="HF_PROVIDER_CONFDIR is not set") as caught:
        load_settings(environ={})

    assert "--provider" in caught.value.hint
    assert "hfcore init" in caught.value.hint


def test_a_conf_folder_that_is_not_there_is_refused_with_where_it_came_from() -> None:
    with pytest.raises(ConfigError, match=r"/hf/conf \(from HF_PROVIDER_CONFDIR\) is no folder"):
        load_settings(environ=HOST_FACTORY)


def test_a_name_that_tags_and_file_names_can_not_carry_is_refused() -> None:
    with pytest.raises(ConfigError, match="HF_PROVIDER_NAME"):
        find_folders({**HOST_FACTORY, "HF_PROVIDER_NAME": "a/*"})


def test_relative_folders_are_made_absolute(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(instance)

    environ = {"HFCORE_CONF_DIR": "conf", "HFCORE_WORK_DIR": "work", "HFCORE_LOG_DIR": "log"}

    assert found_folders(environ) == ("aws1", *(str(instance / name) for name in ("conf", "work", "log")))


def test_every_setting_says_what_it_is_for_and_its_default_is_allowed() -> None:
    for name, setting in SETTINGS.items():
        assert setting.doc.endswith("."), name
        assert setting.kind.allowed, name
        if setting.default not in (None, "", (), {}):
            assert setting.kind.read(setting.default) == setting.default


def test_settings_can_not_be_changed(instance: Path) -> None:
    settings: Any = load(instance)

    with pytest.raises(AttributeError):
        settings.region = "elsewhere"


def test_reading_settings_without_files_imports_neither_pydantic_nor_a_parser(instance: Path) -> None:
    code = (
        "import sys; from hfcore.config import load_settings\n"
        f"load_settings(environ={{}}, provider={str(instance)!r})\n"
        "print([name for name in ('pydantic', 'tomllib', 'json', 'difflib', 'botocore') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
