"""What a run cannot have is said in words: options, sources, amounts, checkpoints, a store."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.helpers_suite import counts, records


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--methods", "wnda-0.5"], "wanda"),
        (["--methods", "wanda-1.2"], "sparsity"),
        (["--methods", "wanda-0.6-2of4"], "2of4"),
        (["--models", "smollm2-135n"], "smollm2-135m"),
        (["--sources", "nws"], "news"),
        (["--tasks", "arc_esy"], "arc_easy"),
        (["--profile", "quik"], "quick"),
        (["--seeds", "0"], "no draws"),
        (["--items", "-3"], "--items"),
        (["--seeds", "40,"], "--slices 41"),
        (["--device", "gpu"], "--device"),
        (["--accept-terms", "gema"], "no terms 'gema'; did you mean 'gemma'? Known: gemma"),
        (["--methods", ""], "at least one name"),
        (["--methods", "wnda-0.5", "-n", "2"], "wanda"),
    ],
)
def test_a_bad_option_is_a_usage_error_that_names_it(suite, arguments, says):
    done = suite(*arguments)
    output = done.stdout + done.stderr
    assert done.returncode == 4, output
    assert says in output
    assert "Traceback" not in output


def test_more_than_a_slice_holds_is_said_before_anything_runs(suite):
    done = suite("--sequences", "4000", "--seeds", "1", "--methods", "wanda-0.5")
    assert done.returncode == 4
    assert "first.jsonl" in done.stderr
    assert "4000 asked for" in done.stderr
    assert not list(suite.store.rglob("*.gz"))
    assert "def test_case" not in done.stdout + done.stderr, "a traceback buries the sentence"
    assert "During handling" not in done.stdout + done.stderr


OFFLINE = {"HF_HUB_OFFLINE": "1", "CALIBENCH_DATA": ""}


def test_a_run_that_lacks_a_source_goes_on_with_the_rest_and_says_so(suite, mini, tmp_path):
    profile = tmp_path / "lacking.toml"
    profile.write_text((mini / "mini.toml").read_text().replace("sources = [", 'sources = ["pile", '))
    done = suite("--profile", str(profile), "-n", "2", env={**OFFLINE, "HF_HOME": str(tmp_path / "hf")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(records(suite.store)) == 9
    assert counts(done.stdout)["unavailable"] == 4
    assert "not run: 4 cases: source 'pile' cannot be had here" in done.stdout
    assert "hf download --repo-type dataset monology/pile-uncopyrighted" in done.stdout
    verdicts = json.loads((suite.store / "verdicts.json").read_text())
    assert any(verdict["outcome"] == "inconclusive" for verdict in verdicts)
    missing = json.loads((suite.store / "manifest.json").read_text())["missing"]
    assert len(missing) == 4
    assert all("pile" in case and why.startswith("unavailable: ") for case, why in missing.items())


def test_a_source_that_the_command_line_names_must_be_there(suite, tmp_path):
    arguments = ["--sources", "pile", "--seeds", "1", "--methods", "wanda-0.5"]
    done = suite(*arguments, env={**OFFLINE, "HF_HOME": str(tmp_path / "hf")})
    assert done.returncode == 1
    assert "source 'pile' cannot be had here" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_mirror_is_found_by_its_option(suite, mini, tmp_path):
    import gzip

    from tests.miniature import documents

    (tmp_path / "data" / "sources").mkdir(parents=True)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in documents(seed=3))
    (tmp_path / "data" / "sources" / "letters.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    arguments = ["--sources", "letters", "--seeds", "1", "--methods", "wanda-0.5"]
    absent = suite(*arguments, env={"CALIBENCH_DATA": ""})
    assert absent.returncode == 4
    assert "CALIBENCH_DATA (--data-dir) is not set" in absent.stdout + absent.stderr
    done = suite(*arguments, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 0, done.stdout
    assert sum("letters" in name for name in records(suite.store)) == 1


def test_an_incomplete_checkpoint_is_refused_by_name(mini, suite, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "tiny"
    shutil.copytree(mini / "tiny", folder)
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if "q_proj" in name)
    del weights[gone]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    done = suite("--models", str(folder), "-m", "case(method='dense')")
    assert done.returncode == 1
    assert "lack" in done.stdout
    assert gone in done.stdout


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_group_size_that_does_not_divide_names_the_linear_and_what_would_before_any_case(suite, more):
    done = suite("--methods", "gptq-w3g48", "--seeds", "1", *more)
    output = done.stdout + done.stderr
    assert done.returncode == 4, output
    assert "gptq-w3g48 on" in output
    assert "q_proj; group sizes that fit all linears: 8, 16, 32" in output
    assert "FAILED" not in output


def test_a_read_only_store_is_said_in_words(suite):
    suite.store.mkdir()
    (suite.store / "records").write_text("a file where a folder should be")
    done = suite("-m", "case(method='dense')")
    assert done.returncode != 0
    assert str(suite.store) in done.stdout + done.stderr
