"""The background process of a sandbox: `python -m hfcore.testing.aws FOLDER PORT TIMINGS-AS-JSON KEY`."""

import json
import sys
from pathlib import Path

from hfcore.testing.aws.sandbox import serve

if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4])
