from __future__ import annotations

import pytest
import typer
from livesam.app.main import app


@pytest.mark.parametrize(
    ("said", "address", "paths"),
    [
        (["photos"], None, ["photos"]),
        (["photos", "--ray"], "local", ["photos"]),
        (["--ray", "photos"], "local", ["photos"]),
        (["photos", "--ray", "auto", "more"], "auto", ["photos", "more"]),
        (["--ray", "head.cluster:6379", "photos"], "head.cluster:6379", ["photos"]),
        (["photos", "--ray=ray://10.0.0.1:10001"], "ray://10.0.0.1:10001", ["photos"]),
        (["photos", "--ray", "--model", "vit_b"], "local", ["photos"]),
        (["photos", "--ray", "s3://bucket/more"], "local", ["photos", "s3://bucket/more"]),
        (["photos", "--", "--ray"], None, ["photos", "--ray"]),
    ],
)
@pytest.mark.parametrize("command", ["embed", "label"])
def test_ray_may_stand_without_an_address(command: str, said: list[str], address: str | None, paths: list[str]) -> None:
    found = typer.main.get_command(app).get_command(None, command)  # type: ignore[attr-defined]
    context = found.make_context(command, ["--out", "out", *said])
    assert (context.params["ray"], context.params["paths"]) == (address, paths)
