"""Own what the clouds are asked for `hfcore doctor`: the way to each and the rights there, then each template."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hfcore.dispatch import at_once
from hfcore.errors import HfcoreError
from hfcore.models import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hfcore.config import Settings
    from hfcore.dispatch import Dispatch
    from hfcore.models import Template
    from hfcore.plugins import Plugins, Provider

CREDENTIALS = "credentials"
"""Name of the check without which nothing else can be asked."""


def cloud_checks(
    settings: Settings,
    dispatch: Dispatch,
    plugins: Plugins,
    templates: tuple[Template, ...],
    accounts: Mapping[str, Mapping[str, int]],
) -> Iterator[Check]:
    """Check each cloud once, for all its plug-ins together, then each template by the plug-in that would serve it."""
    shut: set[str] = set()
    for cloud, providers in _by_cloud(plugins).items():
        asked = next((one for one in providers if one.implements("check_account")), None)
        if asked is None:
            yield Check(name=f"cloud {cloud}", status="not checked", message="none of its plug-ins can tell")
            continue
        actions = tuple(sorted({action for one in providers for action in one.info.iam_actions}))
        context = dispatch.context(asked, settings.region, settings.endpoint_url)
        found = _guarded(f"cloud {cloud}", partial(asked.check_account, actions, accounts.get(cloud, {}), context))
        shut |= {cloud for one in found if one.name == CREDENTIALS and one.status != "ok"}
        yield from found
    answers = at_once(lambda template: _of_template(settings, dispatch, template, shut), templates)
    for template, rows in zip(templates, answers, strict=True):
        yield from (replace(one, name=f"template {template.template_id}: {one.name}") for one in rows)


def _by_cloud(plugins: Plugins) -> dict[str, list[Provider]]:
    found: dict[str, list[Provider]] = {}
    for name in plugins.names():
        try:
            provider = plugins.provider(name)
        except HfcoreError:  # has a row of its own
            continue
        found.setdefault(provider.info.cloud, []).append(provider)
    return found


def _of_template(settings: Settings, dispatch: Dispatch, template: Template, shut: set[str]) -> tuple[Check, ...]:
    try:
        provider, _ = dispatch.for_template(template.provider_api or "")
    except HfcoreError as error:
        return (Check(name="plug-in", status="error", message=str(error), hint=error.hint),)
    if provider.info.cloud in shut:
        return (Check(name="all that it names", status="not checked", message=f"see {CREDENTIALS}"),)
    if not provider.implements("check"):
        told = f"the plug-in of {provider.name} can't tell"
        return (Check(name="all that it names", status="not checked", message=told),)
    context = dispatch.context(provider, settings.region, settings.endpoint_url)
    return _guarded("all that it names", lambda: provider.check(template, context))


def _guarded(name: str, ask: Callable[[], tuple[Check, ...]]) -> tuple[Check, ...]:
    try:
        return ask()
    except HfcoreError as error:
        return (Check(name=name, status="error", message=str(error), hint=error.hint),)
