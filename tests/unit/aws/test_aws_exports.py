from __future__ import annotations

import subprocess

import pytest

from hfcore.aws.exports import exported


@pytest.mark.parametrize("line", ["#!/bin/sh", "#! /bin/bash -e", "#!/usr/bin/env bash", "#!/usr/bin/ksh"])
def test_a_shell_script_exports_before_all_else(line: str) -> None:
    found = exported(f"{line}\necho hi\n".encode(), "team=risk;cost=a b")

    assert found.decode() == f"{line}\nexport team='risk'\nexport cost='a b'\necho hi\n"


def test_a_value_means_itself_to_a_shell_whatever_it_holds() -> None:
    value = """it's "$HOME" `id` \\ $(id)"""
    script = exported(b'#!/bin/sh\nprintf %s "$WORD"', f"WORD={value}")

    assert subprocess.run(["/bin/sh"], input=script, capture_output=True, check=True).stdout.decode() == value


def test_without_a_script_one_is_made_that_exports() -> None:
    assert exported(b"", "a=1") == b"#!/bin/sh\nexport a='1'\n"


def test_without_pairs_nothing_is_changed() -> None:
    assert exported(b"#cloud-config\n", "") == b"#cloud-config\n"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (b"#cloud-config\npackages: []\n", "cloud-config"),
        (b'Content-Type: multipart/mixed; boundary="x"\n', "MIME multipart"),
        (b"MIME-Version: 1.0\n", "MIME multipart"),
        (b"<powershell>\n", "a PowerShell script"),
        (b"<script>\n", "a Windows batch script"),
        (b"\x1f\x8b\x08\x00", "compressed"),
        (b"#!/usr/bin/python3\n", "a script for another interpreter than a shell"),
        (b"\xff\xfe", "without a shell's #! line"),
        (b"echo hi\n", "without a shell's #! line"),
    ],
)
def test_what_is_no_shell_script_can_not_export(script: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match="userData can be exported to a shell script alone") as error:
        exported(script, "PASSWORD=s3cret")
    assert str(error.value).endswith(f"this is {kind}")
    assert "s3cret" not in str(error.value)
