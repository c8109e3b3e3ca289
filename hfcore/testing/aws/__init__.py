"""A strict AWS on loopback, for tests and for trying hfcore without an account.

>>> from hfcore.testing.aws import StrictAws
>>> with StrictAws(fill_seconds=0.1) as aws:                      # one server, every service and region
...     os.environ |= aws.environment()                           # any AWS client now talks to it
...     aws.set_capacity("m5.large", "us-east-1a", "spot", 3)     # a pool that runs short
...     aws.kill("i-…"); aws.reclaim("i-…"); aws.advance(120)     # what happens to machines; the clock
...     assert not aws.violations                                 # no documented rule was broken
...     assert len([c for c in aws.calls if c.operation == "DescribeInstances"]) == 1

It serves the operations that the plug-ins use, through botocore's own service models, and behaves as AWS documents
where that is inconvenient: client tokens, partial capacity, fleets that fill later or never, instances not yet visible,
ids that age out, limits. `sandbox` runs the same server as a background process.
"""

from __future__ import annotations

from hfcore.testing.aws.catalogue import AL2023, IMAGE
from hfcore.testing.aws.protocol import AwsError
from hfcore.testing.aws.server import DropConnection, Hook
from hfcore.testing.aws.strict import StrictAws
from hfcore.testing.aws.world import Call, Timings, Violation

__all__ = ["AL2023", "IMAGE", "AwsError", "Call", "DropConnection", "Hook", "StrictAws", "Timings", "Violation"]
