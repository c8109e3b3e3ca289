"""Own the pytest plug-in of hfcore: fixtures that every test run has beside `hfcore[testing]` (entry point `pytest11`).

pytest loads this module in every run of an environment, also of tests that have nothing to do with hfcore: it imports
nothing but pytest, and what a fixture needs is imported where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.aws import StrictAws
    from hfcore.testing.forks import Forks
    from hfcore.testing.instance import ProviderInstance
    from hfcore.testing.rig import AwsServer

pytest.register_assert_rewrite("hfcore.testing.contract", "hfcore.testing.core", "hfcore.testing.instance")


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    """Give the one strict AWS of this test process, with its clients."""
    from hfcore.testing.rig import AwsServer

    server = AwsServer()
    yield server
    server.aws.stop()


@pytest.fixture
def strict_aws(aws_server: AwsServer) -> StrictAws:
    """Give an empty strict AWS, where everything happens at once."""
    return aws_server.emptied()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Give what makes warm processes; it takes seconds to start, so that all tests of a process have the same."""
    from hfcore.testing.forks import Forks

    with Forks() as found:
        yield found


@pytest.fixture
def provider_instance(tmp_path: Path) -> ProviderInstance:
    """Give the folder of a provider instance; its verbs run in processes of their own."""
    from hfcore.testing.instance import ProviderInstance

    return ProviderInstance(tmp_path / "provider")
