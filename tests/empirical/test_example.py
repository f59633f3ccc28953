"""The example that outsiders copy: it runs, and the correction does in it what it says."""

import importlib.util
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "examples" / "sdc_in_your_own_loop.py"


def test_the_correction_lowers_the_gradient_norm_in_a_foreign_loop():
    spec = importlib.util.spec_from_file_location("example", PATH)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    _, plain = example.distil(0.0, steps=40)
    _, corrected = example.distil(0.1, steps=40)
    assert corrected[0] == plain[0]  # the same networks, batches and start
    assert sum(corrected[-5:]) < 0.95 * sum(plain[-5:])
