"""`SpotFleet` keeps the contract of all provider plug-ins."""

from __future__ import annotations

from typing import ClassVar

from hfcore.testing.awscontract import AwsProviderContract
from hfcore.testing.site import ROLE


class TestContract(AwsProviderContract):
    plugin = "hfcore_aws_spotfleet.plugin"
    fields: ClassVar = {"price_type": "spot", "fleet_role": ROLE}
