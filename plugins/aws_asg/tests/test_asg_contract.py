"""`ASG` keeps the contract of all provider plug-ins."""

from __future__ import annotations

from hfcore.testing.awscontract import AwsProviderContract


class TestContract(AwsProviderContract):
    plugin = "hfcore_aws_asg.plugin"
