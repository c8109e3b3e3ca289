"""Own `hfcore reconcile`: what the cloud has and no record knows, what a record has and the cloud lacks, put right."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the command is used

from hfcore.cli.output import ExitCode, as_json
from hfcore.cli.running import agree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.cli.running import Session
    from hfcore.reconcile import Finding
    from hfcore.reconciling import Key

_VOUCH = "once the records are complete, and no other instance has their owner: hfcore reconcile --trust-records"

app = typer.Typer(add_completion=False)

MOST = 100
"""So many resources of unknown requests are ended in one run, unless `--most` says otherwise."""


@app.command("reconcile")
def reconcile(
    ctx: typer.Context,
    *,
    end_unknown: Annotated[
        bool, typer.Option("--end-unknown", help="End what carries our owner tag and belongs to no known request.")
    ] = False,
    unused_templates: Annotated[
        bool, typer.Option("--unused-templates", help="Remove shared launch templates that are long unused.")
    ] = False,
    most: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Most of what is unknown to end in one run, the oldest first.")
    ] = MOST,
    trust_records: Annotated[
        bool, typer.Option("--trust-records", help="Vouch that these records are complete, and the only ones.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; a terminal is asked without it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what is proposed, and do nothing.")] = False,
) -> None:
    """Hold all that is ours in the cloud against the records, and put right what is plain; exit code 1 if not all is.

    Nothing is touched that is younger than ten minutes or lacks our owner tag, nor anything while the records are an
    older copy, or a copy at all.
    """
    from hfcore.reconcile import Leave

    session: Session = ctx.obj
    reconciling = session.service().reconciling
    if trust_records and not dry_run:
        reconciling.trust_records()
    survey = reconciling.survey()
    given = {Leave.NONE: True, Leave.END_UNKNOWN: end_unknown, Leave.UNUSED_TEMPLATES: unused_templates}
    meant = [] if dry_run else _chosen([one for one in survey.findings if given[one.leave]], most)
    asking = [one for one in meant if one.leave is not Leave.NONE]
    if asking:
        these = "it" if len(asking) == 1 else "them"
        agree(f"{_counted(asking)} that no known request needs: end or remove {these}?", yes=yes)
    undone = reconciling.act(meant) if meant else {}
    items = [_item(one, meant, undone) for one in survey.findings]
    columns = {
        "RESOURCE": lambda item: f"{item['resource_id']}\n{item['kind']}{_where(item)}",
        "REQUEST": lambda item: item["request_id"],
        "PROPOSED": lambda item: f"{item['proposed']}\n{item['leave']}".rstrip(),
        "WHY": lambda item: item["why"],
        "OUTCOME": lambda item: item["outcome"],
    }
    told = {"dry_run": dry_run, "held": survey.held, "unlisted": list(survey.unlisted), "doubt": survey.doubt}
    agree_so_far = "as far as it could be listed, " if survey.unlisted else ""
    empty = f"{agree_so_far}cloud and records agree: {survey.held} of ours in the cloud"
    session.output.rows("reconcile", items, columns, empty=empty, **told)
    if not session.output.is_json:
        for why in (*survey.unlisted, *filter(None, [survey.doubt])):
            session.output.note(why)
        if survey.doubt:
            session.output.note(_VOUCH)
    if undone or survey.unlisted:
        raise typer.Exit(ExitCode.FAILED)


def _where(item: Mapping[str, Any]) -> str:
    return "".join(f"{word} {item[name]}" for word, name in ((" in", "region"), (",", "status")) if item[name])


def _chosen(findings: list[Finding], most: int) -> list[Finding]:
    """Give what is to be done: of what is unknown only so many machines, and so many others, the oldest first."""
    from hfcore.reconcile import INSTANCE, Deed, Leave

    done = [one for one in findings if one.deed is not Deed.KEEP]
    unknown = [one for one in done if one.leave is Leave.END_UNKNOWN]
    never = datetime.min.replace(tzinfo=UTC)
    order = sorted(unknown, key=lambda one: one.resource.created_at or never)
    machines = [one for one in order if one.resource.kind == INSTANCE]
    others = [one for one in order if one.resource.kind != INSTANCE]
    chosen = machines[:most] + others[:most]  # what is stopped each time anew must not stand before machines for ever
    return [one for one in done if one.leave is not Leave.END_UNKNOWN or one in chosen]


def _counted(findings: Iterable[Finding]) -> str:
    """Say how many of each kind, such as `2 instances and 1 fleet`."""
    from collections import Counter

    kinds = Counter(one.resource.kind for one in findings)
    return " and ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in kinds.items())


def _item(one: Finding, meant: list[Finding], undone: Mapping[Key, str]) -> dict[str, Any]:
    from hfcore.reconciling import key

    outcome = undone.get(key(one), "done") if one in meant else ""
    where = {"region": one.place.region, "endpoint": one.place.endpoint}
    what = {"proposed": one.deed.value, "leave": one.leave.value, "why": one.why, "outcome": outcome}
    return as_json(one.resource) | where | what  # type: ignore[no-any-return]  # a record becomes an object
