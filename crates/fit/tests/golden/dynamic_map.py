# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "bitsandbytes==0.50.2"]
# ///
"""Records bitsandbytes' dynamic quantisation maps: dynamic_map.json, read by src/optim/dynamic_map.rs.

Run with `uv run dynamic_map.py`. Tolerance 1e-6 relative: bitsandbytes computes them in f32.
"""

import json
import pathlib

from bitsandbytes.functional import create_dynamic_map

out = {
    name: [float(f"{value:.8g}") for value in create_dynamic_map(signed).tolist()]
    for name, signed in (("signed", True), ("unsigned", False))
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
