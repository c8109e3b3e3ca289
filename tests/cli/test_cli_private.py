"""Whatever the umask, what hfcore writes is for its owner alone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from hfcore.testing.aws import StrictAws
from hfcore.testing.site import templates

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_0600_and_folders_0700_though_the_umask_allows_all(tmp_path: Path) -> None:
    provider = tmp_path / "made" / "awsinst"
    with StrictAws() as aws:
        environ = {"PATH": "/usr/bin:/bin", "HFCORE_LOG_LEVEL": "debug", **aws.environment()}

        def call(*words: object) -> str:
            command = [sys.executable, "-m", "hfcore", *map(str, words), "--provider", str(provider)]
            ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, umask=0)
            assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
            return ended.stdout

        def verb(*words: object) -> str:
            return str(json.loads(call("hostfactory", *words)).get("requestId", ""))

        call("init", "--name", "awsinst")
        (provider / "conf" / "awsinstprov_templates.json").write_text(json.dumps({"templates": templates(aws)}))
        verb("getAvailableTemplates")
        made = [
            verb("requestMachines", name, 1) for name in ("OnDemand-Small", "Group", "Fleet-Maintain", "Spot-Plain")
        ]
        aws.advance(1)
        verb("getRequestStatus", *made)
        verb("getReturnRequests")
        verb("getRequestStatus", verb("requestReturnMachines", *(one.id for one in aws.live_instances())))
        call("requests", "cancel", *made, "--yes")
        call("store", "trim")
        call("store", "export", "--file", provider / "export.json")
        call("store", "repair")
        call("doctor")
        generated = ("--subnet", next(iter(aws.region().subnets)), "--image", "ami-12c6146b")
        groups = ("--security-group", next(iter(aws.region().security_groups)))
        call("templates", "generate", "m5.large", *generated, *groups, "--file", provider / "generated.json")
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in (provider.parent, *provider.parent.rglob("*"))}
    folders = {path for path in found if path.is_dir()}
    scripts = {path for path in found if path.parent.name == "scripts"}
    loose = {
        str(path): oct(mode) for path, mode in found.items() if mode != (0o700 if path in folders | scripts else 0o600)
    }
    assert loose == {}
    there = {path.name for path in found}
    assert {"hfcore.log", "storage.json", "machines.json", "meta.json", "store.lock", "templates.json"} <= there
    assert {"memory.json", "export.json", "generated.json"} <= there
    assert os.access(provider / "scripts" / "requestMachines.sh", os.X_OK)
