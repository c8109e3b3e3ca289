"""Own `hfcore init`: lay out a provider instance's folders, settings, sample template and scripts.

Asks nothing and overwrites nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the command is used

from hfcore.config import OWN_FILE, SETTINGS, find_folders
from hfcore.errors import ConfigError, InputError
from hfcore.files import FILE_MODE, FOLDER_MODE, make_private_folder, write_new

if TYPE_CHECKING:
    from hfcore.cli.running import Session
    from hfcore.config import Folders, Setting

app = typer.Typer(add_completion=False)

_PARTS = {"HF_PROVIDER_CONFDIR": "conf", "HF_PROVIDER_WORKDIR": "work", "HF_PROVIDER_LOGDIR": "log"}
_ANY = {
    "templateId": "Sample",
    "maxNumber": 10,
    "attributes": {
        "type": ["String", "X86_64"],
        "ncpus": ["Numeric", "2"],
        "nram": ["Numeric", "8192"],
    },
}
_OF_AWS = _ANY | {
    "templateId": "OnDemand-Sample",
    "imageId": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
    "subnetId": "subnet-REPLACE",
    "securityGroupIds": ["sg-REPLACE"],
    "vmType": "m5.large",
    "priceType": "ondemand",
    "instanceTags": "project=grid",
}


@app.command()
def init(
    ctx: typer.Context,
    *,
    conf_dir: Annotated[str, typer.Option(metavar="DIR", help="Settings and templates.")] = "",
    work_dir: Annotated[str, typer.Option(metavar="DIR", help="The store.")] = "",
    log_dir: Annotated[str, typer.Option(metavar="DIR", help="The log.")] = "",
    scripts: Annotated[
        str, typer.Option(metavar="DIR", help="Host Factory's scripts; by default scripts beside conf.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the instance; by default that of its folder.")] = "",
) -> None:
    """Lay out a provider instance: settings, a sample template, folders, and Host Factory's scripts.

    Folders come from these options, else from --provider DIR (conf, work, log, scripts in it),
    else from Host Factory's HF_PROVIDER_* environment. What is there already is kept.
    """
    session: Session = ctx.obj
    flags = {"HF_PROVIDER_CONFDIR": conf_dir, "HF_PROVIDER_WORKDIR": work_dir, "HF_PROVIDER_LOGDIR": log_dir}
    folders = _find(session.provider, flags, name)
    scripts_dir = _scripts_dir(scripts, folders)
    other_api = _other_api(session)
    sample = _ANY | {"providerApi": other_api} if other_api else _OF_AWS
    items = [
        *(_make_folder(folder) for folder in (folders.conf_dir, folders.work_dir, folders.log_dir, scripts_dir)),
        _write(folders.conf_dir / OWN_FILE, _toml()),
        _write_unless(folders, "prov_config.json", _json({} if other_api else {"AWS_REGION": _region()})),
        _write_unless(folders, "prov_templates.json", _json({"templates": [sample]})),
        *(_write(scripts_dir / file, text, mode=FOLDER_MODE) for file, text in _scripts(folders)),
    ]
    plugins, providers = _registration(folders, scripts_dir)
    session.output.rows(
        "init",
        items,
        {"RESULT": lambda item: item["result"], "PATH": lambda item: item["path"]},
        empty="",
        host_provider_plugins=plugins,
        host_providers=providers,
    )
    if not session.output.is_json:
        session.output.text(f"\nhostProviderPlugins.json:\n{_json(plugins)}\nhostProviders.json:\n{_json(providers)}")
    todo = f"what {other_api} needs of a template" if other_api else "your region, subnets and security groups"
    session.output.note(f"put {todo} into the files in conf", word="next")
    if sys.platform != "win32" and os.geteuid() == 0:
        session.output.note("all this belongs to root: run init as the user that runs Host Factory, if that is another")


def _other_api(session: Session) -> str:
    """Give the API of an installed plug-in, where none is of AWS; empty as well where none is installed."""
    from hfcore.plugins import PluginStatus

    records = session.plugins_alone().records()
    infos = [record.info for record in records if record.info and record.status is PluginStatus.ACTIVE]
    return "" if any(info.cloud == "aws" for info in infos) else next((info.name for info in infos), "")


def _find(provider: str, flags: dict[str, str], name: str) -> Folders:
    """Find the folders as every call does, with what the options say put into the environment."""
    environ = dict(os.environ)
    if provider and not (Path(provider).name == provider and environ.get("HF_CONFDIR")):
        base = Path(provider).absolute()
        environ |= {key: str(base / part) for key, part in _PARTS.items()} | {"HF_PROVIDER_NAME": base.name}
        provider = ""
    if provider:
        found = find_folders(environ, provider)
        environ |= dict(zip(_PARTS, map(str, (found.conf_dir, found.work_dir, found.log_dir)), strict=True))
        environ["HF_PROVIDER_NAME"] = found.provider
    environ |= {key: value for key, value in flags.items() if value} | ({"HF_PROVIDER_NAME": name} if name else {})
    try:
        return find_folders(environ)
    except ConfigError as error:
        raise InputError(error.message, hint="name a folder for all of it: hfcore init --provider DIR") from None


def _scripts_dir(flag: str, folders: Folders) -> Path:
    if flag:
        return Path(flag).absolute()
    if folders.conf_dir.name == "conf":
        return folders.conf_dir.with_name("scripts")
    raise InputError(
        "nothing says where the scripts go", hint="name the folder of Host Factory's scriptPath: --scripts DIR"
    )


def _toml() -> str:
    lines = ["# Settings of this provider instance; `hfcore config show` tells which value holds, and from where.", ""]
    for name, setting in SETTINGS.items():
        if not setting.placed:
            lines += [f"# {setting.doc} Must be {setting.kind.allowed}.", f"# {name} = {_toml_value(setting)}", ""]
    return "\n".join(lines)


def _toml_value(setting: Setting) -> str:
    value = setting.default
    if value is None:
        return "  # not set"
    if isinstance(value, (str, int)):
        return json.dumps(value)
    return "[]" if isinstance(value, tuple) else "{}"


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _scripts(folders: Folders) -> list[tuple[str, str]]:
    """Give the shipped scripts with this interpreter and these folders in their places."""
    values = {
        "PYTHON": sys.executable,
        "CONF_DIR": str(folders.conf_dir),
        "WORK_DIR": str(folders.work_dir),
        "LOG_DIR": str(folders.log_dir),
        "PROVIDER": folders.provider,
    }
    shipped = sorted((resources.files("hfcore") / "scripts").iterdir(), key=lambda file: file.name)
    return [(file.name, _filled(file.read_text("utf-8"), values, file.name)) for file in shipped]


def _filled(text: str, values: dict[str, str], file: str) -> str:
    batch = file.endswith(".bat")

    def put(match: re.Match[str]) -> str:
        value = values[match[1]]
        return value.replace("%", "%%") if batch else shlex.quote(value)

    filled = re.sub(r"@([A-Z_]+)@", put, text)
    return filled.replace("\n", "\r\n") if batch else filled


def _registration(folders: Folders, scripts_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what registers the instance with Host Factory: hostProviderPlugins.json and hostProviders.json."""
    plugin = {"name": folders.provider, "enabled": 1, "scriptPath": f"{scripts_dir}/"}
    provider = {
        "name": folders.provider,
        "enabled": 1,
        "plugin": folders.provider,
        "confPath": f"{folders.conf_dir}/",
        "workPath": f"{folders.work_dir}/",
        "logPath": f"{folders.log_dir}/",
    }
    return {"version": 2, "providerplugins": [plugin]}, {"version": 2, "providers": [provider]}


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def _make_folder(path: Path) -> dict[str, Any]:
    there = path.is_dir()
    make_private_folder(path)
    return _item(path, written=not there)


def _write_unless(folders: Folders, end: str, text: str) -> dict[str, Any]:
    """Write a file of IBM's form, unless the folder has one under another name: that one would no longer count."""
    others = sorted(folders.conf_dir.glob(f"*{end}"))
    return _item(others[0], written=False) if others else _write(folders.conf_dir / f"{folders.provider}{end}", text)


def _write(path: Path, text: str, *, mode: int = FILE_MODE) -> dict[str, Any]:
    return _item(path, written=write_new(path, text.encode("utf-8", "surrogateescape"), mode=mode))


def _item(path: Path, *, written: bool) -> dict[str, Any]:
    return {"path": str(path), "result": "written" if written else "kept"}
