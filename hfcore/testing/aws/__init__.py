"""A strict AWS on loopback, for tests and for trying hfcore without an account.

>>> with StrictAws(fill_seconds=0.1) as aws:                      # one server, every service and region
...     os.environ |= aws.environment()                           # any AWS client now talks to it
...     aws.set_capacity("m5.large", "us-east-1a", "spot", 3)     # a pool that runs short
...     aws.kill("i-…"); aws.reclaim("i-…"); aws.advance(120)     # what happens to machines; the clock
...     assert not aws.violations and len(aws.calls) == 1         # no documented rule was broken

It serves the operations that the plug-ins use, and behaves as AWS documents where that is inconvenient.
`sandbox` runs it in the background.
"""

from __future__ import annotations

from hfcore.testing.aws.protocol import AwsError
from hfcore.testing.aws.server import DropConnection
from hfcore.testing.aws.strict import Hook, StrictAws
from hfcore.testing.aws.world import AL2023, IMAGE, Call, Timings, Violation

__all__ = ["AL2023", "IMAGE", "AwsError", "Call", "DropConnection", "Hook", "StrictAws", "Timings", "Violation"]
