import json

import pytest
from livesam.benchmarks.latency import exports


def test_the_command_measures_time_and_size(tmp_path, capsys):
    out = tmp_path / "exports.json"
    arguments = ["--models", "nano", "--repeats", "1", "--json", str(out)]
    for row in ("safetensors", "safetensors difference", "hf"):
        arguments += ["--format", row]
    with pytest.raises(SystemExit) as ended:
        exports.main(arguments)
    assert ended.value.code == 0
    result = json.loads(out.read_text())
    assert result["environment"]["cores"] > 0
    rows = result["models"]["nano"]
    assert rows["safetensors"]["bytes"] < exports.TARGET_BYTES
    assert rows["safetensors difference"]["bytes"] < rows["safetensors"]["bytes"] * 0.51
    assert rows["safetensors"]["first_s"] > 0
    assert rows["safetensors"]["later_s"] > 0
    assert "only vit_b" in rows["hf"]["skipped"]
    shown = capsys.readouterr().out
    assert "safetensors difference" in shown
    assert "at most 17 MB" in shown


def test_every_file_format_has_a_row():
    from livesam.export.decoder_export import FORMATS

    assert {case[0] for case in exports.cases().values()} == set(FORMATS) - {"tensorrt"}
