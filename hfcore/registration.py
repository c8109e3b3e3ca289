"""Own what Host Factory knows of a provider instance: its two JSON files, and the scripts that they lead to."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hfcore.config import parse_json, read_file
from hfcore.errors import ConfigError
from hfcore.models import Check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hfcore.config import Settings

PLUGINS_FILE: Final = Path("providerplugins", "hostProviderPlugins.json")
PROVIDERS_FILE: Final = Path("providers", "hostProviders.json")
SCRIPTS: Final = (
    "getAvailableTemplates",
    "getRequestStatus",
    "getReturnRequests",
    "requestMachines",
    "requestReturnMachines",
)
_FILES, _PROVIDER, _PLUGIN, _SCRIPTS = (
    "Host Factory's files",
    "Host Factory's provider",
    "Host Factory's plug-in",
    "scripts",
)
_ANEW: Final = "remove them, and let `hfcore init` lay them out anew"
_PATHS: Final = {"confPath": "conf_dir", "workPath": "work_dir", "logPath": "log_dir"}


def checks(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Check Host Factory's files as far as the environment says where they are, and the scripts that they name.

    Args:
        settings: The provider instance's settings.
        environ: The environment; `HF_CONFDIR` and `HF_TOP` lead to the files.
    """
    laid_out = settings.conf_dir.with_name("scripts")
    roots = [Path(environ[key], *more) for key, more in (("HF_CONFDIR", ()), ("HF_TOP", ("conf",))) if environ.get(key)]
    if not roots:
        told = "neither HF_CONFDIR nor HF_TOP says where they are"
        yield Check(name=_FILES, status="not checked", message=told)
        yield scripts(laid_out, settings)
        return
    root = next((one for one in roots if (one / PROVIDERS_FILE).exists()), roots[0])
    try:
        providers = _entries(root / PROVIDERS_FILE, "providers")
        plugins = _entries(root / PLUGINS_FILE, "providerplugins")
    except ConfigError as error:
        yield Check(name=_FILES, status="error", message=str(error), hint="see what `hfcore init` prints for them")
        yield scripts(laid_out, settings)
        return
    provider = _named(providers, settings.provider)
    yield _judged_provider(provider, settings, root / PROVIDERS_FILE)
    plugin = _named(plugins, str(provider.get("plugin", ""))) if provider else {}
    if provider:
        yield _judged_plugin(plugin, provider, root / PLUGINS_FILE)
    named = plugin.get("scriptPath")
    yield scripts(Path(named) if isinstance(named, str) and named else laid_out, settings)


def _entries(path: Path, key: str) -> list[dict[str, Any]]:
    content = parse_json(read_file(path), path)
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise ConfigError(f'{path} must hold {{"{key}": […]}}')
    return [one for one in found if isinstance(one, dict)]


def _named(entries: Iterable[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((one for one in entries if one.get("name") == name), {})


def _judged_provider(provider: Mapping[str, Any], settings: Settings, path: Path) -> Check:
    if not provider:
        told = f"{path} has no provider {settings.provider}"
        return Check(name=_PROVIDER, status="error", message=told, hint="add what `hfcore init` prints")
    if not provider.get("enabled"):
        told = f"{path}: provider {settings.provider} is not enabled"
        return Check(name=_PROVIDER, status="error", message=told, hint='set "enabled": 1')
    other = [
        f"{key} is {provider[key]}, and the instance has {getattr(settings, name)}"
        for key, name in _PATHS.items()
        if provider.get(key) and not _same(str(provider[key]), getattr(settings, name))
    ]
    if other:
        return Check(name=_PROVIDER, status="error", message=f"{path}: {'; '.join(other)}", hint="correct the paths")
    return Check(name=_PROVIDER, status="ok", message=f"{settings.provider} is enabled in {path}")


def _judged_plugin(plugin: Mapping[str, Any], provider: Mapping[str, Any], path: Path) -> Check:
    name = provider.get("plugin")
    if not plugin:
        told = f"{path} has no plug-in {name}"
        return Check(name=_PLUGIN, status="error", message=told, hint="add what `hfcore init` prints")
    if not plugin.get("enabled"):
        return Check(name=_PLUGIN, status="error", message=f"{path}: {name} is not enabled", hint='set "enabled": 1')
    if not Path(str(plugin.get("scriptPath", ""))).is_dir():
        told = f"{path}: scriptPath {plugin.get('scriptPath')} of {name} is no folder"
        return Check(name=_PLUGIN, status="error", message=told, hint="name the folder of the scripts")
    return Check(name=_PLUGIN, status="ok", message=f"{name} is enabled in {path}")


def _same(one: str, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def scripts(folder: Path, settings: Settings) -> Check:
    """Check Host Factory's five scripts: there, executable, with an interpreter that exists, of this instance."""
    end = ".bat" if sys.platform == "win32" else ".sh"
    wrong = [why for name in SCRIPTS if (why := _what_is_wrong(folder / f"{name}{end}", settings))]
    if wrong:
        told = f"{folder}: {wrong[0]}" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        return Check(name=_SCRIPTS, status="error", message=told, hint=_ANEW)
    return Check(name=_SCRIPTS, status="ok", message=f"all {len(SCRIPTS)} in {folder}")


def _what_is_wrong(path: Path, settings: Settings) -> str:
    if not path.is_file():
        return f"{path.name} is missing"
    if not os.access(path, os.R_OK | os.X_OK):
        return f"{path.name} is not readable and executable"
    return _what_it_says_wrong(path, settings) if path.suffix == ".sh" else ""


def _what_it_says_wrong(path: Path, settings: Settings) -> str:
    text = path.read_text("utf-8", "surrogateescape")
    interpreter, conf_dir = _value(text, r"^PYTHON=(.*)$"), _value(text, r"HFCORE_CONF_DIR=(.*)$")
    if not interpreter:
        return f"{path.name} was not made by `hfcore init`"
    if not os.access(interpreter, os.X_OK):
        return f"{path.name} names {interpreter}, which is no interpreter"
    if conf_dir and not _same(conf_dir, settings.conf_dir):
        return f"{path.name} is of another instance, {conf_dir}"
    return ""


def _value(text: str, pattern: str) -> str:
    """Give what a shell's assignment says, without its quotes."""
    found = re.search(pattern, text, re.MULTILINE)
    try:
        return next(iter(shlex.split(found[1])), "") if found else ""
    except ValueError:
        return ""
