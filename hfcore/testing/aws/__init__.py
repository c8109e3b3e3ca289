"""A strict AWS on loopback, for tests and for trying hfcore without an account.

>>> with StrictAws(fill_seconds=0.1) as aws:                      # one server, every service and region
...     os.environ |= aws.environment()                           # any AWS client now talks to it
...     aws.set_capacity("m5.large", "us-east-1a", "spot", 3)     # a pool that runs short
...     aws.kill("i-…"); aws.reclaim("i-…"); aws.advance(120)     # what happens to machines; the clock
...     aws.faults.add("throttle:RunInstances*3", "reset-after@0.1")   # what happens to calls: see `faults`
...     assert not aws.violations and len(aws.calls) == 1         # no documented rule was broken

It serves the operations that the plug-ins use, and behaves as AWS documents where that is inconvenient.
`sandbox` runs it in the background.
"""

from __future__ import annotations

from hfcore.testing.aws.faults import Fault, Faults, Hook, Injected, parse_faults
from hfcore.testing.aws.protocol import AwsError
from hfcore.testing.aws.server import DropConnection
from hfcore.testing.aws.strict import StrictAws
from hfcore.testing.aws.world import AL2023, IMAGE, Call, Timings, Violation

__all__ = ["AL2023", "IMAGE", "AwsError", "Call", "DropConnection", "Fault", "Faults", "Hook", "Injected", "StrictAws"]
__all__ += ["Timings", "Violation", "parse_faults"]
