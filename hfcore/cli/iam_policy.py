"""Own `hfcore iam-policy`: the document that allows what plug-ins need in their cloud, and no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer  # noqa: TID253 - imported when the command is used

from hfcore.cli import completion
from hfcore.errors import HfcoreError, InputError
from hfcore.storefolder import owner_of

if TYPE_CHECKING:
    from hfcore.cli.running import Session
    from hfcore.plugins import Plugins, Provider

app = typer.Typer(add_completion=False)

_HOOK = "access_policy"


@app.command()
def iam_policy(
    ctx: typer.Context,
    plugins: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PLUGIN]...",
            help="Provider APIs; by default all that can be used.",
            autocompletion=completion.plugins,
        ),
    ] = None,
) -> None:
    """Print the IAM policy that allows what the plug-ins need, on what carries our owner tag where AWS can tell.

    Of a provider instance (--provider) the tag has its owner id; without one, any value, as before its first call.
    """
    session: Session = ctx.obj
    settings = session.settings()
    known = session.plugins()
    chosen = [_able(known, name) for name in plugins] if plugins else _all_able(known)
    clouds = sorted({one.info.cloud for one in chosen})
    if len(clouds) != 1:
        told = f"one cloud's plug-ins make a policy, and these are of {', '.join(clouds) or 'none'}"
        raise InputError(told, hint="name plug-ins: hfcore iam-policy PLUGIN…")
    owner = (settings.owner or owner_of(settings.work_dir / "data")) if settings else ""
    if settings and not owner:
        told = "this provider instance has no owner id before its first call: the policy allows any owner's"
        session.output.note(f"{told}; set `owner` in hfcore.toml, or print it again then", word="warning")
    document = chosen[0].access_policy(tuple(one.info for one in chosen), owner, settings)
    session.output.text(json.dumps(document, indent=2))


def _able(known: Plugins, name: str) -> Provider:
    provider = known.provider(name)
    if not provider.implements(_HOOK):
        raise InputError(f"the plug-in of {provider.name} has no policy", hint=f"see: hfcore plugins show {name}")
    return provider


def _all_able(known: Plugins) -> list[Provider]:
    found: dict[str, Provider] = {}
    for name in known.names():
        try:
            provider = known.provider(name)
        except HfcoreError:
            continue
        if provider.implements(_HOOK):
            found.setdefault(provider.info.name, provider)
    return list(found.values())
