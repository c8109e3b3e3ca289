"""Own `hfcore explain`: what an error code means, why it comes, and what to do; all of it is in `hfcore.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the command is used

from hfcore.cli import completion
from hfcore.config import nearest
from hfcore.errors import CODES, HfcoreError, InputError, meaning

if TYPE_CHECKING:
    from hfcore.cli.running import Session

app = typer.Typer(add_completion=False)


@app.command()
def explain(
    ctx: typer.Context,
    code: Annotated[
        str,
        typer.Argument(
            metavar="[CODE]", help="Such as HF2041; without it, all are listed.", autocompletion=completion.error_codes
        ),
    ] = "",
) -> None:
    """Say what an error code means, why it comes, and what to do now."""
    session: Session = ctx.obj
    if code:
        session.output.details("errors", [_about(_named(code))])
        return
    columns = {
        "CODE": lambda item: item["code"],
        "WHAT": lambda item: item["what"],
        "WHAT NOW": lambda item: item["what_now"],
    }
    session.output.rows("errors", map(_about, CODES.values()), columns, empty="")


def _named(code: str) -> type[HfcoreError]:
    """Give the error of a code, in any case, with or without its letters."""
    code = code.strip().upper()
    wanted = code if code.startswith("HF") else f"HF{code}"
    if wanted in CODES:
        return CODES[wanted]
    near = [known for known in CODES if known[:4] == wanted[:4]]
    hint = f"near ones: {', '.join(near)}" if near else nearest(wanted, CODES) or "all of them: hfcore explain"
    raise InputError(f"there is no error code {code}", hint=hint)


def _about(kind: type[HfcoreError]) -> dict[str, Any]:
    return {
        "code": kind.code,
        "what": meaning(kind),
        "why": kind.why,
        "what_now": kind.remedy,
        "retryable": kind.retryable,
    }
