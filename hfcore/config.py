"""Own the settings: what there is to set, where a value comes from, and which folders a provider instance has.

A value is taken from the first of: a flag, `HFCORE_*`, `hfcore.toml` in the conf folder, IBM's `*prov_config.json`, a
variable that others set (such as `AWS_REGION`), the default. Credentials are no settings: they are files, or the
environment of the cloud's own tools.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hfcore.bounds import MOST_BYTES, MOST_DEPTH, is_too_deep
from hfcore.errors import ConfigError
from hfcore.models import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

OWN_FILE = "hfcore.toml"
_HINT = "name a provider instance with --provider NAME|DIR, or lay one out with `hfcore init`"

WITHOUT_EFFECT: Mapping[str, str] = {
    "AWS_KEY_FILE": "nothing here logs in to machines",
    "ACCEPT_PROPAGATED_LOG_SETTING": "Host Factory's log variables hold unless a setting of hfcore's says otherwise",
    "AWS_DESCRIBE_REQUEST_RETRY_ATTEMPTS": "machines that AWS does not show yet are asked for at the next poll",
    "AWS_DESCRIBE_REQUEST_INTERVAL": "machines that AWS does not show yet are asked for at the next poll",
}
"""Keys of IBM's file that are known and do nothing here, each with the reason."""


class Kind(NamedTuple):
    """What a setting may be, in words that end the sentence "must be …", and what reads it or raises `ValueError`."""

    allowed: str
    read: Callable[[Any], Any]


def _text(pattern: str, allowed: str) -> Kind:
    def read(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise ValueError

    return Kind(allowed, read)


def _number(low: int, high: int) -> Kind:
    def read(value: object) -> int:
        if not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,9}", str(value)) and low <= int(str(value)) <= high:
            return int(str(value))
        raise ValueError

    return Kind(f"a whole number from {low} to {high}", read)


def _choice(words: Mapping[str, str], allowed: str) -> Kind:
    """Allow the keys of `words`, in any case, each meaning its value."""

    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ValueError

    return Kind(allowed, read)


def _read_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    raise ValueError


def _read_names(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError
    return tuple(name.strip() for name in names if name.strip())


def _read_pairs(value: object) -> dict[str, str]:
    pairs = dict(pair.split("=", 1) for pair in _read_names(value)) if isinstance(value, str) else value
    if not isinstance(pairs, dict) or not all(isinstance(part, str) and part.strip() for part in pairs.values()):
        raise ValueError
    return {api.strip(): distribution.strip() for api, distribution in pairs.items()}


_PATH = _text(r".+", "a path")
_NAME = _text(r"\w[\w .:+=@-]{0,127}", "at most 128 letters, digits, spaces and .:+=@_-")
_REGION = _text(r"[0-9a-z-]+", "a region, such as us-east-1")
_URL = _text(
    r"https?://[^\s@/?#]+(/[^\s@?#]*)?",
    "a URL beginning with http:// or https://, without user and password, nor a query",
)
_HOST = _text(r"(https?://)?[^\s@/]+", "a host name or address, without user and password")
# An owner is looked for by tag filters, in which * and ? stand for anything.
_OWNER = _text(r"[\w.:/+=@-]{1,256}", "at most 256 letters, digits and .:/+=@_-")
_HOST_NAME = _text(r"privateDns|privateIp|reverseDns|tag:.+", "privateDns, privateIp, reverseDns or tag:KEY")
_FALLBACK = _choice({"runinstances": "RunInstances", "error": "error"}, "RunInstances or error")
_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error"}
_LEVEL = _choice(_LEVELS | {f"log_{word}": level for word, level in _LEVELS.items()}, "debug, info, warning or error")
_SECONDS, _MS = _number(1, 240), _number(1, 240_000)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_FLAG = Kind("true or false, in the environment 1 or 0 too", _read_flag)
_NAMES = Kind("a list of names, in the environment A,B", _read_names)
_PAIRS = Kind("a table of provider API to distribution, in the environment A=dist,B=dist", _read_pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What there is to know of one setting, for its reading, `hfcore config show` and the documentation.

    Args:
        doc: What it is for, one sentence.
        kind: What it may be.
        default: The value where nothing is given; a folder has none.
        ibm_key: Key in IBM's `*prov_config.json`.
        others: Variables that others set, asked before the default.
        placed: Whether it is a folder or the provider's name, which have rules of their own (`find_folders`).
    """

    doc: str
    kind: Kind
    default: object = None
    ibm_key: str = ""
    others: tuple[str, ...] = ()
    placed: bool = False


def _place(doc: str, kind: Kind = _PATH) -> dict[str, Any]:
    return {"setting": Setting(doc=doc, kind=kind, placed=True)}


def _setting(kind: Kind, default: T, doc: str, ibm_key: str = "", *others: str) -> T:
    setting = Setting(doc=doc, kind=kind, default=default, ibm_key=ibm_key, others=others)
    return field(default_factory=lambda: default, metadata={"setting": setting})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one provider instance, checked. Optional text that is not set is empty.

    Args:
        warnings: What is odd in the files, in sentences.
        without_effect: Keys of IBM's file that are known and do nothing here (`WITHOUT_EFFECT`).
        origins: Setting name to where its value comes from; a name that is missing has its default.
    """

    conf_dir: Path = field(metadata=_place("Folder of the instance's settings and template files."))
    work_dir: Path = field(metadata=_place("Folder in which the store, the journal and the cache live."))
    log_dir: Path = field(metadata=_place("Folder of the log files."))
    provider: str = field(metadata=_place("Name of the provider instance; what it makes is tagged with it.", _NAME))
    region: str = _setting(_REGION, "", "Region of new machines.", "AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    endpoint_url: str = _setting(_URL, "", "EC2's endpoint; other services keep theirs.", "AWS_ENDPOINT_URL")
    credential_file: str = _setting(_PATH, "", "AWS credentials file, seen from conf_dir.", "AWS_CREDENTIAL_FILE")
    proxy_host: str = _setting(_HOST, "", "HTTP proxy on the way to the cloud.", "AWS_PROXY_HOST")
    proxy_port: int | None = _setting(_number(1, 65_535), None, "Port of the proxy.", "AWS_PROXY_PORT")
    connection_timeout_ms: int = _setting(
        _MS, 10_000, "Most time to connect to the cloud.", "AWS_CONNECTION_TIMEOUT_MS"
    )
    request_retry_attempts: int | None = _setting(
        _number(0, 10), None, "How often a failed cloud call is sent again, if set.", "AWS_REQUEST_RETRY_ATTEMPTS"
    )
    instance_pending_timeout_sec: int = _setting(
        _number(180, 10_000), 180, "A machine pending for longer is ended: failed.", "AWS_INSTANCE_PENDING_TIMEOUT_SEC"
    )
    request_expiry_minutes: int = _setting(_number(1, 10_080), 30, "Deadline of a request whose template names none.")
    call_timeout_sec: int = _setting(_SECONDS, 60, "Most time that one verb spends on the cloud.")
    lock_timeout_sec: int = _setting(_number(1, 90), 60, "Most time that one verb waits for the store's lock.")
    fallback: str = _setting(_FALLBACK, "RunInstances", "What serves a template whose provider API is unknown.")
    plugins: Mapping[str, str] = _setting(_PAIRS, EMPTY, "Which distribution serves an API that several claim.")
    disabled_plugins: tuple[str, ...] = _setting(_NAMES, (), "Provider APIs whose plug-in is never loaded.")
    host_name: str = _setting(
        _HOST_NAME, "privateDns", "From what a machine has the name by which it joins the cluster.", "hostName"
    )
    owner: str = _setting(_OWNER, "", "Owner id with which all is tagged; where not set, the store makes one.")
    retention_hours: int = _setting(_number(1, 8_760), 24, "Time until a finished request moves to the archive.")
    reconcile_minutes: int = _setting(
        _number(0, 10_080), 15, "Time between two looks at all that is ours in the cloud, by itself; 0 is never."
    )
    reclaim_queue_url: str = _setting(_URL, "", "SQS queue of EventBridge's messages on what EC2 takes back, if any.")
    rebalance_recommendations: bool = _setting(
        _FLAG, default=False, doc="Whether EC2's rebalance recommendation counts as taking a machine back."
    )
    trace_plugins: bool = _setting(
        _FLAG, default=False, doc="Whether each hook call is logged, of a person's command on stderr too."
    )
    log_level: str = _setting(_LEVEL, "info", "Lowest level that is logged.", "", "HF_LOGLEVEL")
    log_max_file_size_mb: int = _setting(_number(1, 10_000), 10, "Size of a full log file.", "", "HF_LOG_MAX_FILE_SIZE")
    log_max_rotate: int = _setting(_number(0, 1_000), 5, "Full log files that are kept.", "", "HF_LOG_MAX_ROTATE")
    warnings: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def foreign_after_sec(self) -> float:
        """Seconds after which a process of another host, which can't be seen from here, counts as dead."""
        return 2.0 * self.call_timeout_sec

    @property
    def under_lsf(self) -> bool:
        """Whether LSF's resource connector calls, and not Symphony: its variables name the folders."""
        return self.origin("conf_dir") == _LSF_CONF_DIR

    def origin(self, name: str) -> str:
        """Say where a setting's value comes from: a flag, a variable, a file's name, or `default`."""
        return self.origins.get(name, "default")


SETTINGS: Mapping[str, Setting] = {each.name: each.metadata["setting"] for each in fields(Settings) if each.metadata}
"""Every setting by its name, which is its key in `hfcore.toml`; in the environment it is `HFCORE_<NAME>`."""

_FREE = {name: setting for name, setting in SETTINGS.items() if not setting.placed}
_OTHERS = [(name, key) for name, setting in _FREE.items() for key in reversed(setting.others)]  # the first one wins


class Folders(NamedTuple):
    """A provider instance's folders and name, and where each comes from."""

    conf_dir: Path
    work_dir: Path
    log_dir: Path
    provider: str
    origins: Mapping[str, str]


_LSF_CONF_DIR, _LSF_DATA_DIR = "PRO_CONF_DIR", "PRO_DATA_DIR"

# Setting; the variables of Host Factory and of LSF; the service's, under which `providers/NAME` is; hfcore's own.
_FOLDERS = (
    ("conf_dir", "HF_PROVIDER_CONFDIR", _LSF_CONF_DIR, "HF_CONFDIR", "HFCORE_CONF_DIR"),
    ("work_dir", "HF_PROVIDER_WORKDIR", _LSF_DATA_DIR, "HF_WORKDIR", "HFCORE_WORK_DIR"),
    ("log_dir", "HF_PROVIDER_LOGDIR", "PRO_LSF_LOGDIR", "HF_LOGDIR", "HFCORE_LOG_DIR"),
)


def find_folders(environ: Mapping[str, str], provider: str | None = None) -> Folders:
    """Find the provider instance that a call is about. The folders need not exist.

    Args:
        environ: The environment.
        provider: `--provider`: a folder with `conf`, `work` and `log` in it, or the name of an instance under
            Host Factory's `HF_CONFDIR`, `HF_WORKDIR` and `HF_LOGDIR`.

    Raises:
        ConfigError: Nothing names the folders, or the provider's name can't be one.
    """
    if provider:
        return _folders_of_flag(environ, provider)
    named_by = next((key for key in ("HF_PROVIDER_NAME", "PROVIDER_NAME", "HFCORE_PROVIDER") if environ.get(key)), "")
    name = environ.get(named_by, "")
    paths: dict[str, Path] = {}
    origins: dict[str, str] = {}
    for setting, host_factory, lsf, service, own in _FOLDERS:
        places = {key: environ.get(key, "") for key in (host_factory, lsf, service, own)}
        places[service] = str(Path(places[service], "providers", name)) if places[service] and name else ""
        origins[setting] = next((key for key, path in places.items() if path), "")
        if not origins[setting]:
            raise ConfigError(f"no provider instance is named: {host_factory} is not set", hint=_HINT)
        paths[setting] = _folder(origins[setting], Path(places[origins[setting]]).absolute(), name)
    conf_dir = paths["conf_dir"]
    name = name or (conf_dir.parent if conf_dir.name == "conf" else conf_dir).name
    origins["provider"] = named_by or origins["conf_dir"]
    checked = _read(_NAME, _Given(name, "", f"the provider's name (from {origins['provider']})"))
    return Folders(**paths, provider=checked, origins=origins)


def _folder(key: str, path: Path, name: str) -> Path:
    """Give the folder that a variable means. LSF's providers have files in `conf` of theirs, and one folder of data."""
    if key == _LSF_CONF_DIR:
        return path / "conf" if (path / "conf").is_dir() else path
    return path / name if key == _LSF_DATA_DIR else path


def _folders_of_flag(environ: Mapping[str, str], provider: str) -> Folders:
    path = Path(provider)
    is_name = path.name == provider != ".." and (environ.get("HF_CONFDIR") or not path.is_dir())
    base = path.resolve()
    paths = {setting: base / setting.removesuffix("_dir") for setting, *_ in _FOLDERS}
    for setting, _, _, service, _ in _FOLDERS if is_name else ():
        if not environ.get(service):
            message = f"--provider {provider} is neither a folder here nor an instance of Host Factory's"
            hint = "name the folder that `hfcore init` laid out: --provider DIR"
            raise ConfigError(f"{message}: {service} is not set", hint=hint)
        paths[setting] = Path(environ[service], "providers", provider).absolute()
    name = _read(_NAME, _Given(provider if is_name else base.name, "", "the provider's name (from --provider)"))
    return Folders(**paths, provider=name, origins=dict.fromkeys([*paths, "provider"], "--provider"))


class _Given(NamedTuple):
    """A value as it was given: `key` says where, in words for an error."""

    value: object
    origin: str
    key: str


_Layer = dict[str, _Given]


def _read(kind: Kind, given: _Given) -> Any:  # noqa: ANN401 - the kind decides
    try:
        return kind.read(given.value)
    except ValueError:
        # A URL may carry user and password before its host, and a query.
        shown = re.sub(r"[?#].*", "?…'", re.sub(r"^.*@", "'…@", repr(given.value)))
        raise ConfigError(f"{given.key} is {shown}, and must be {kind.allowed}") from None


def load_settings(
    *, environ: Mapping[str, str], provider: str | None = None, flags: Mapping[str, str] = EMPTY
) -> Settings:
    """Find a provider instance and read its settings. Text that is empty counts as not set, wherever it stands.

    Args:
        environ: The environment.
        provider: `--provider NAME|DIR`, if given.
        flags: Setting name to text, for flags that a person gave.

    Raises:
        ConfigError: No folders, a file that can't be read, a key or a value that is not allowed.
    """
    folders = find_folders(environ, provider)
    if not folders.conf_dir.is_dir():
        raise ConfigError(f"{folders.conf_dir} (from {folders.origins['conf_dir']}) is no folder", hint=_HINT)
    warnings: list[str] = []
    ibm, without_effect = _from_ibm(folders, warnings)
    own = _from_variables(environ, ((name, f"HFCORE_{name.upper()}") for name in _FREE))
    given = ibm | _from_toml(folders.conf_dir) | own | _from_flags(flags)
    values = {name: _read(_FREE[name].kind, each) for name, each in given.items()}
    for name, each in (_from_script_options(environ) | _from_variables(environ, _OTHERS)).items():
        if name not in given:
            _read_other(name, each, values, given, warnings)
    if "credential_file" in values:
        values["credential_file"] = str(folders.conf_dir / expanded(values["credential_file"]))
    origins = {name: each.origin for name, each in given.items()}
    places = folders._asdict() | {"origins": {**origins, **folders.origins}}
    return Settings(**places, **values, warnings=tuple(warnings), without_effect=without_effect)


def _read_other(name: str, each: _Given, values: dict[str, Any], given: _Layer, warnings: list[str]) -> None:
    """Take a value from a variable of others. A bad one stops nothing: Host Factory may know one more log level."""
    try:
        values[name] = _read(_FREE[name].kind, each)
        given[name] = each
    except ConfigError as error:
        warnings.append(f"{error}; the default is used")


def _from_flags(flags: Mapping[str, str]) -> _Layer:
    keys = {name: f"--{name.replace('_', '-')}" for name in flags}
    for name, flag in keys.items():
        _known(name, flag)
    return {name: _Given(flags[name], flag, flag) for name, flag in keys.items() if flags[name]}


def _from_variables(environ: Mapping[str, str], names: Iterable[tuple[str, str]]) -> _Layer:
    return {name: _Given(environ[key], key, key) for name, key in names if environ.get(key)}


def _from_script_options(environ: Mapping[str, str]) -> _Layer:
    """Read the proxy that LSF's `scriptOption` names in Java's words, as IBM's plug-in takes it."""
    found = re.findall(r"-Dhttps\.proxy(Host|Port)=(\S+)", environ.get("SCRIPT_OPTIONS", ""))
    key = "SCRIPT_OPTIONS"
    return {f"proxy_{part.lower()}": _Given(value, key, f"{key}: https.proxy{part}") for part, value in found}


def _from_toml(conf_dir: Path) -> _Layer:
    path = conf_dir / OWN_FILE
    if not path.exists():
        return {}
    import tomllib

    try:
        content = tomllib.loads(read_file(path).decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for name in content:
        _known(name, f"{path}: {name}")
    return {name: _Given(value, OWN_FILE, f"{path}: {name}") for name, value in content.items() if value != ""}


def _known(name: str, key: str) -> None:
    if name in SETTINGS and name not in _FREE:
        raise ConfigError(f"{key} can't be set here: it comes from the environment or from --provider")
    if name not in _FREE:
        raise ConfigError(f"{key} is not a setting", hint=nearest(name, _FREE) or "`hfcore config show` lists them")


def _from_ibm(folders: Folders, warnings: list[str]) -> tuple[_Layer, tuple[str, ...]]:
    path = _ibm_file(folders)
    if path is None:
        return {}, ()
    content = parse_json(read_file(path), path)
    if not isinstance(content, dict):
        raise ConfigError(f'{path} must hold one JSON object, such as {{"AWS_REGION": "us-east-1"}}')
    names = {setting.ibm_key: name for name, setting in _FREE.items() if setting.ibm_key}
    layer = {}
    for key, value in content.items():
        if key not in names and key not in WITHOUT_EFFECT:
            hint = nearest(key, [*names, *WITHOUT_EFFECT])
            warnings.append(f"{path}: {key} is not known and has no effect" + (f" ({hint})" if hint else ""))
        elif key in names and value is not None and value != "":
            layer[names[key]] = _Given(value, path.name, f"{path}: {key}")
    return layer, tuple(key for key in content if key in WITHOUT_EFFECT)


def _ibm_file(folders: Folders) -> Path | None:
    found = sorted(folders.conf_dir.glob("*prov_config.json"))
    own = folders.conf_dir / f"{folders.provider}prov_config.json"
    if len(found) > 1 and own not in found:
        names = ", ".join(path.name for path in found)
        raise ConfigError(f"{folders.conf_dir} has several settings files: {names}", hint=f"{own.name} is preferred")
    return own if own in found else next(iter(found), None)


def read_file(path: Path) -> bytes:
    """Read a file of the conf folder; one that can't be read, or is far too large, is a `ConfigError`."""
    from hfcore.files import open_file

    try:
        with open_file(path) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path} is larger than {MOST_BYTES // 1024 // 1024} MiB")
    return data


def parse_json(data: bytes, path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Parse a JSON file's content.

    Raises:
        ConfigError: It is not JSON, naming line and column, or is nested too deep.
    """
    import json

    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # bytes that are no UTF-8, wrong JSON, a number beyond measure
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if is_too_deep(found):
        raise ConfigError(f"{path} has more than {MOST_DEPTH} objects and lists within each other")
    return found


def expanded(path: str) -> str:
    """Put a home folder in for `~`; a user that does not exist is left as it is, and then is not found."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib raises where there is no such user


def nearest(name: str, known: Iterable[str]) -> str:
    """Give "did you mean …?" for a misspelt name, or nothing."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"did you mean {found[0]}?" if found else ""
