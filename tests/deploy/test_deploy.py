"""Export, the check before it, the predictor and serving: what they promise and what they refuse."""

import os
import random
import shlex
import shutil
import sys
import time

import numpy as np
import paddle
import pytest
import yaml
from benchmarks.latency import latencies
from conftest import ENVIRONMENT, ROOT, mounted, start_tool
from PIL import Image, ImageFile

from ppcoordconv.config import load_config
from ppcoordconv.deploy import Predictor, verification
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import infer
from ppcoordconv.models.zoo import weights_path
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.errors import UserError


@pytest.fixture(scope="module")
def task():
    task = build_task(load_config(ROOT / "configs" / "digits" / "coordconv.yml", ["model.pretrained=true"]))
    task.network.eval()
    return task


@pytest.fixture(scope="module")
def model_dir(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_task(task, folder)
    return folder


@pytest.fixture
def exported(model_dir, tmp_path):
    return shutil.copytree(model_dir, tmp_path / "model")


def held_out(task, count):
    samples = task.test_samples()
    return np.stack([samples[i][0] for i in range(count)])


@pytest.mark.parametrize("onednn", [True, False, None])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_exported_model_is_the_network(task, exported, onednn, size):
    batch = held_out(task, size)
    with paddle.no_grad():
        expected = task.network(paddle.to_tensor(batch)).numpy()
    got = Predictor(str(exported), onednn=onednn)(batch)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_one_predictor_takes_batches_of_any_size_and_none(task, exported):
    predictor = Predictor(str(exported), cpu_threads=1)
    batch = held_out(task, 20)
    whole = predictor(batch)
    for size in (1, 3, 20, 7, 0):
        got = predictor(batch[:size])
        assert got.shape == (size, 10)
        np.testing.assert_allclose(got, whole[:size], rtol=1e-4, atol=1e-4)


def test_what_was_checked_is_written_down(exported):
    checked = yaml.safe_load((exported / "inference.yml").read_text())["checked"]
    assert checked["paddle"] == paddle.__version__
    assert checked["inputs"] == [[1, 3, 32, 32], [3, 3, 32, 32]]
    assert checked["onednn"] is True
    assert all(error <= 1e-5 for name, error in checked["relative_error"].items() if name != "onednn_bf16")


def test_legacy_is_a_pdmodel_that_runs(task, tmp_path):
    export_task(task, tmp_path, "paddle")
    expected = Predictor(str(tmp_path))(held_out(task, 3))
    export_task(task, tmp_path, "legacy")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["inference.pdiparams", "inference.pdmodel", "inference.yml"]
    np.testing.assert_allclose(Predictor(str(tmp_path))(held_out(task, 3)), expected, rtol=1e-4, atol=1e-4)


def test_a_model_that_differs_is_not_handed_over(task, exported, monkeypatch):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    monkeypatch.setitem(verification.TOLERANCES, "fp32", 0.0)
    monkeypatch.setattr(verification, "_relative_error", lambda got, expected, measure: 0.5)
    with pytest.raises(UserError, match="the exported model is not right, and was thrown away"):
        export_task(task, exported)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before


def test_a_setting_that_crashes_is_found_and_avoided(task, tmp_path, monkeypatch):
    """A stand-in interpreter that dies of a real segmentation fault when oneDNN is on."""
    fake = tmp_path / "python"
    fake.write_text(
        """#!/bin/sh\ncase "$5" in *'"onednn": true'*) kill -SEGV $$;; esac\n"""
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    checked = export_task(task, tmp_path / "model")["checked"]
    assert checked["relative_error"]["onednn"].startswith("crashed (-11)")
    assert checked["onednn"] is False
    assert Predictor(str(tmp_path / "model"))(held_out(task, 2)).shape == (2, 10)


def test_a_task_that_says_other_inputs_than_its_network_takes_is_refused(task, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(task, "num_inputs", 2, raising=False)
        with pytest.raises(UserError, match="this one takes 2: export it from Python, by ppcoordconv.deploy.export"):
            export_task(task, tmp_path / "m")
    metadata = task.export_metadata()
    small = {**metadata, "preprocess": {**metadata["preprocess"], "image_size": [16, 16]}}
    monkeypatch.setattr(task, "export_metadata", lambda: small)
    with pytest.raises(UserError, match=r"makes inputs of shape \[\d, 16, 16\], and the model takes"):
        export_task(task, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_folder_that_can_not_be_written(task, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        export_task(task, tmp_path / "file" / "model")


def test_a_missing_file(exported):
    for path in sorted(exported.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=f"lacks {path.name}"):
            Predictor(str(exported))
        path.write_bytes(content)


DAMAGES = {
    "half": lambda content: content[: len(content) // 2],
    "end lost": lambda content: content[:-12],
    "first byte": lambda content: bytes([content[0] ^ 0xFF]) + content[1:],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files(exported, damage):
    for path in sorted(exported.iterdir()):
        good = path.read_bytes()
        path.write_bytes(damage(good))
        with pytest.raises(UserError, match="damaged"):
            Predictor(str(exported))
        path.write_bytes(good)
    Predictor(str(exported))


def test_folders_that_are_none(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        Predictor(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="lacks inference.yml"):
        Predictor(str(tmp_path))


@pytest.mark.parametrize("shape", [[3, 32, 32], [1, 3, 32, 31], [1, 32, 32, 3], [0, 1, 32, 32]])
def test_wrong_batches(exported, shape):
    with pytest.raises(UserError, match="takes a batch of shape"):
        Predictor(str(exported))(np.zeros(shape, np.float32))


@pytest.mark.skipif(paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0, reason="a GPU is here")
def test_no_gpu_is_an_error_and_never_silently_the_cpu(exported):
    with pytest.raises(UserError, match="the device 'gpu' can't be had"):
        Predictor(str(exported), device="gpu")


@pytest.mark.skipif(not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0, reason="no GPU")
def test_on_a_gpu(task, exported):
    batch = held_out(task, 5)
    np.testing.assert_allclose(Predictor(str(exported), "gpu")(batch), Predictor(str(exported))(batch), rtol=1e-3)


@pytest.mark.skipif(paddle.__version__ < "3", reason="Paddle 2 writes no json")
def test_paddle_2_is_told_what_it_can_not_read(exported, monkeypatch):
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    with pytest.raises(UserError, match="a model of Paddle 3, and this is 2.6.2; export it again in the format legacy"):
        Predictor(str(exported))


def test_one_bad_picture_spoils_its_own_line_only(task, exported, tmp_path, monkeypatch):
    # PaddleDetection makes Pillow take truncated files, once it was imported.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    samples = task.test_samples()
    for i in range(70):
        Image.fromarray(samples.pixels(i)).save(pictures / f"{i:02d}.png")
    (pictures / "33.png").write_bytes((pictures / "33.png").read_bytes()[:60])
    Image.new("RGBA", (1, 1)).save(pictures / "34.png")
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / "nowhere.png", pictures, tmp_path / "empty", pictures / "00.png"]
    results = list(infer(Predictor(str(exported)), inputs, tmp_path / "out"))
    expected = [inputs[0], *sorted(pictures.iterdir()), inputs[2], inputs[3]]
    assert [result["input"] for result in results] == [str(path) for path in expected]
    assert [i for i, result in enumerate(results) if "error" in result] == [0, 34, 71]
    assert results[1] == {**results[72], "picture": "00.png"}
    right = [r["label"] == str(samples[i][1]) for i, r in enumerate(results[1:71]) if i not in (33, 34)]
    assert np.mean(right) >= 0.95
    assert len(list((tmp_path / "out").glob("*.png"))) == 70  # 69 that can be read, and a second 00
    assert (tmp_path / "out" / "00_2.png").exists()


def test_drawn_pictures_never_take_each_others_name(exported, tmp_path):
    pictures = [tmp_path / name for name in ("a.png", "a.bmp", "a_2.png", "b.gif")]
    for path in pictures:
        Image.new("L", (8, 8)).save(path)
    list(infer(Predictor(str(exported)), [*pictures, pictures[0]], tmp_path / "out"))
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["a.png", "a_2.png", "a_2_2.png", "a_3.png", "b.png"]


def test_drawn_pictures_never_replace_an_input(exported, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(UserError, match="would replace the input .*a.png; choose another folder"):
        list(infer(Predictor(str(exported)), [tmp_path], tmp_path / "x" / ".."))
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.png")] == ["a.png"]


def test_latencies(exported):
    predictors = {name: Predictor(str(exported)) for name in ("coordconv", "conv")}
    milliseconds = latencies(predictors, np.zeros([3, 32, 32], np.float32), runs=10)
    assert set(milliseconds) == {"coordconv", "conv"}
    assert all(0 < value < 1000 for value in milliseconds.values())


@pytest.mark.any_paddle
def test_a_disk_that_is_full_at_30_random_moments(task, model_dir, tmp_path):
    """The export before is left whole, and nothing beside it."""
    rng = random.Random(0)
    before = {path.name: path.read_bytes() for path in model_dir.iterdir()}
    size = sum(map(len, before.values()))
    with mounted(tmp_path / "disk", f"size={4 * size}") as disk:
        shutil.copytree(model_dir, disk / "model")
        for model_format in ["paddle", "legacy"] * 15:
            free = shutil.disk_usage(disk).free - rng.randrange(int(0.95 * size))
            (disk / "filler").write_bytes(bytes(free))
            with pytest.raises(UserError, match="model can't be written: No space left on device"):
                export_task(task, disk / "model", model_format)
            assert {path.name: path.read_bytes() for path in (disk / "model").iterdir()} == before
            (disk / "filler").unlink()
            assert [path.name for path in disk.iterdir()] == ["model"]


def test_ended_in_the_middle_it_leaves_nothing_behind(tmp_path):
    """By SIGTERM, while what was written is checked, by processes that end too, with a TMPDIR that can't be written."""
    config = ROOT / "configs" / "digits" / "coordconv.yml"
    arguments = ["-c", config, "-w", weights_path("aistudio_coordconv"), "--output_dir", tmp_path / "a" / "model"]
    environment = {**ENVIRONMENT, "TMPDIR": "/proc"}
    process = start_tool("export", *arguments, cwd=tmp_path, env=environment, start_new_session=True)
    while "checking it" not in (line := process.stderr.readline()):
        assert line, process.wait()
    process.terminate()
    _, said = process.communicate()
    assert (process.returncode, said.splitlines()[-1]) == (143, "export.py: ended by SIGTERM")
    assert list((tmp_path / "a").iterdir()) == []
    end = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:  # one that had just been started finds out when it has imported Paddle
            os.killpg(process.pid, 0)
            time.sleep(0.1)
