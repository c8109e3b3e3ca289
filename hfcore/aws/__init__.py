"""The toolkit for AWS plug-ins; nothing else in hfcore imports it, and boto3 is imported inside functions only.

Whatever asks AWS raises `CloudError` if AWS can't be asked; functions say only what they raise besides.

about             what AWS plug-ins say of themselves alike
accounts          whose account answers
clients           one client for each service and patience, within the call's deadline
slim              service models cut to what plug-ins declare
errors            AWS's error codes as faults; what certainly made nothing
calls             every call: `once` and `repeat` to change (journalled), `ask` and `pages` to read
tags              our tags, written and read
images, launch    a template's image, and its launch template data
launch_templates  shared and own launch templates
instances         describe, terminate, and AWS's instance as `models.Instance`
discovery         `Discovery` from what was seen
reclaims, owned   what AWS takes back; what is ours
fleets, fleet_*   EC2 and Spot fleets that fill later: their terms, making, discovery, history, remainder, removal
policy            the IAM policy that allows what plug-ins need
access, checks    the way to AWS and its rights, and what a template names, for `hfcore doctor`
validation        what is wrong with a template on any AWS API
"""
