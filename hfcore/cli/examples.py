"""Own the example in the help of each command: what follows `hfcore`, by group and command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES: Mapping[str, str] = {
    "config show": "config show --provider /opt/hfcore/awsinst",
    "doctor": "doctor --provider /opt/hfcore/awsinst",
    "explain": "explain HF2041",
    "hostfactory getAvailableTemplates": "hostfactory getAvailableTemplates --provider /opt/hfcore/awsinst",
    "hostfactory getRequestStatus": "hostfactory getRequestStatus -f in.json",
    "hostfactory getReturnRequests": "hostfactory getReturnRequests --data '{}'",
    "hostfactory requestMachines": "hostfactory requestMachines OnDemand-Sample 2",
    "hostfactory requestReturnMachines": "hostfactory requestReturnMachines i-0123456789abcdef0",
    "iam-policy": "iam-policy ASG RunInstances --provider /opt/hfcore/awsinst > policy.json",
    "init": "init --provider /opt/hfcore/awsinst --name awsinst",
    "machines list": "machines list --all -o json",
    "machines return": "machines return i-0123456789abcdef0 ip-10-0-58-4.ec2.internal --yes",
    "plugins check": "plugins check RunInstances",
    "plugins list": "plugins list --requirements > requirements.txt",
    "plugins new": "plugins new Acme --cloud acme",
    "plugins show": "plugins show EC2Fleet",
    "reconcile": "reconcile --dry-run --provider /opt/hfcore/awsinst",
    "requests cancel": "requests cancel req-0f6c1c0e-6d0b-4c43-a0f7-7a5f1c1d2e3f --return-machines --yes",
    "requests list": "requests list --all --provider /opt/hfcore/awsinst",
    "requests show": "requests show req-0f6c1c0e-6d0b-4c43-a0f7-7a5f1c1d2e3f",
    "requests watch": "requests watch req-0f6c1c0e-6d0b-4c43-a0f7-7a5f1c1d2e3f --interval 10",
    "sandbox env": 'sandbox env    # in a shell: eval "$(hfcore sandbox env)"',
    "sandbox fault": "sandbox fault capacity:m5.large/us-east-1a/spot=0",
    "sandbox start": "sandbox start --port 5555",
    "sandbox status": "sandbox status -o json",
    "sandbox stop": "sandbox stop",
    "store check": "store check --provider /opt/hfcore/awsinst",
    "store export": "store export --archived --file records.json",
    "store repair": "store repair --dry-run",
    "store trim": "store trim --older-than 72",
    "templates generate": "templates generate m5.large c5.2xlarge --api EC2Fleet --image ami-0123456789abcdef0 "
    "--vpc vpc-0123456789abcdef0 --security-group sg-0123456789abcdef0 -f templates.json",
    "templates list": "templates list --provider /opt/hfcore/awsinst",
    "templates schema": "templates schema",
    "templates show": "templates show OnDemand-Sample",
    "templates validate": "templates validate awsprov_templates.json",
}
