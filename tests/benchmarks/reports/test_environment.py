from __future__ import annotations

import json

from livesam.benchmarks.reports.environment import environment


def test_environment_is_json_and_knows_this_machine() -> None:
    found = environment()
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["cores"] >= 1
    assert content["versions"]["numpy"]
    assert content["python"].startswith("3.")
    assert str(found.cores) in found.line()
