"""Metrics are written once each, whatever kills the run; progress says step, rate, loss, time
left.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboardX import record_writer
from tensorboardX.proto import event_pb2

from jaxcxr.errors import InputError
from jaxcxr.storage import metric_writer
from jaxcxr.storage.metric_writer import MetricWriter, Progress, read_metrics


def events(workdir: Path) -> list[event_pb2.Event]:
    """All TensorBoard events, file after file. TFRecord: length, its CRC, content, its CRC."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir(), key=lambda p: p.stat().st_mtime_ns):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            found.append(event_pb2.Event.FromString(content[at + 12 : at + 12 + length]))
            at += 12 + length + 4
    return found


def tensorboard_scalars(workdir: Path) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, round(value.simple_value, 6))
        for event in events(workdir)
        for value in event.summary.value
        if value.HasField("simple_value")
    ]


def test_a_row_is_in_both_files(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.scalars(1, {"train/loss": np.float32(0.5), "train/learning_rate": 1e-3})
        writer.scalars(2, {"valid/macro_f1": 0.25})
    assert read_metrics(tmp_path) == [
        {"step": 1, "train/loss": 0.5, "train/learning_rate": 1e-3},
        {"step": 2, "valid/macro_f1": 0.25},
    ]
    assert tensorboard_scalars(tmp_path) == [
        (1, "train/loss", 0.5),
        (1, "train/learning_rate", 1e-3),
        (2, "valid/macro_f1", 0.25),
    ]


def test_a_row_can_be_read_as_soon_as_it_is_written(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.scalars(1, {"loss": 1.0})
        assert read_metrics(tmp_path) == [{"step": 1, "loss": 1.0}]


def test_nan_and_infinity_are_null_in_strict_json(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.scalars(1, {"a": float("nan"), "b": float("-inf"), "c": 1.0})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert line == '{"step": 1, "a": null, "b": null, "c": 1.0}\n'
    assert tensorboard_scalars(tmp_path) == [(1, "c", 1.0)]


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
def test_images_keep_their_pixels(tmp_path, shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    with MetricWriter(tmp_path) as writer:
        writer.image(3, "overlay", image)
        with pytest.raises(TypeError, match="'overlay' is float64, not uint8"):
            writer.image(3, "overlay", image / 255.0)
    [(event, value)] = [(e, v) for e in events(tmp_path) for v in e.summary.value]
    decoded = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)).convert("RGB"))
    expected = np.broadcast_to(image.reshape(4, 6, -1), (4, 6, 3))
    assert event.step == 3
    np.testing.assert_array_equal(decoded, expected)


def test_text_is_written(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.text(0, "config", "**seed** 3")
    assert any(b"**seed** 3" in event.SerializeToString() for event in events(tmp_path))


def test_an_inactive_writer_writes_nothing(tmp_path):
    with MetricWriter(tmp_path / "run", active=False) as writer:
        writer.scalars(1, {"loss": 1.0})
        writer.image(1, "a", np.zeros((2, 2, 3), np.uint8))
        writer.text(1, "a", "b")
        writer.truncate_after(0)
    assert not (tmp_path / "run").exists()


# Resuming.


def write_steps(workdir: Path, steps, *, resume_from: int | None = None) -> None:
    with MetricWriter(workdir) as writer:
        if resume_from is not None:
            writer.truncate_after(resume_from)
        for step in steps:
            writer.scalars(step, {"loss": step / 10})


def test_a_resumed_run_has_each_row_once(tmp_path):
    write_steps(tmp_path, range(1, 8))
    write_steps(tmp_path, range(5, 10), resume_from=4)  # killed after 7, restored from 4
    assert [row["step"] for row in read_metrics(tmp_path)] == list(range(1, 10))
    # TensorBoard is told to hide what came after step 4.
    [start] = [e for e in events(tmp_path) if e.HasField("session_log")]
    assert (start.step, start.session_log.status) == (5, event_pb2.SessionLog.START)


def test_a_run_that_starts_anew_forgets_all_rows(tmp_path):
    write_steps(tmp_path, range(4))
    write_steps(tmp_path, range(2), resume_from=-1)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1]


def test_truncating_while_writing_goes_on_below(tmp_path):
    with MetricWriter(tmp_path) as writer:
        for step in (1, 2, 3):
            writer.scalars(step, {"loss": 0.0})
        writer.truncate_after(1)
        writer.scalars(2, {"loss": 1.0})
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.0}, {"step": 2, "loss": 1.0}]


def test_nothing_is_rewritten_where_nothing_goes(tmp_path):
    write_steps(tmp_path, range(3))
    before = (tmp_path / "metrics.jsonl").stat().st_mtime_ns
    with MetricWriter(tmp_path) as writer:
        writer.truncate_after(9)
    assert (tmp_path / "metrics.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize("tail", [b"{", b'{"step": 4, "loss": 0.', b'{"step": 4}'])
def test_a_row_cut_short_by_a_kill_is_dropped_and_its_place_used(tmp_path, tail):
    write_steps(tmp_path, range(1, 4))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3]
    write_steps(tmp_path, [4])
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize("line", ["{", "3", "[]", "{}", '{"step": null}', '{"step": "1"}'])
def test_a_damaged_row_is_named_by_its_line(tmp_path, line):
    rows = [json.dumps({"step": 1}), line, json.dumps({"step": 2})]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    for read in (read_metrics, MetricWriter):
        with pytest.raises(InputError, match=r"metrics\.jsonl, line 2 is damaged"):
            read(tmp_path)


def test_a_run_without_metrics_has_no_rows(tmp_path):
    assert read_metrics(tmp_path) == []


# Progress.


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        # The module: everybody's clock.
        monkeypatch.setattr(metric_writer.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_come_at_most_every_ten_seconds_and_at_the_end(monkeypatch):
    clock, out = Clock(monkeypatch), io.StringIO()
    with Progress(100, start=10, description="train vgg19_bn", file=out) as progress:
        for step in range(11, 61):
            clock.now += 0.5
            progress.update(step, loss=1 / step)
    assert out.getvalue().splitlines() == [
        "train vgg19_bn: step 30/100, 2.00 step/s, loss 0.03333, 00:35 left",
        "train vgg19_bn: step 50/100, 2.00 step/s, loss 0.02, 00:25 left",
        "train vgg19_bn: step 60/100, 2.00 step/s, loss 0.01667, 00:20 left",
    ]


def test_a_terminal_gets_a_bar_with_step_rate_loss_and_time_left(monkeypatch):
    clock, out = Clock(monkeypatch), Terminal()
    with Progress(20, start=10, description="train", file=out) as progress:
        for step in range(11, 16):
            clock.now += 1.0
            progress.update(step, loss=0.125)
    last = out.getvalue().rsplit("\r", 1)[-1]
    assert last.startswith("train:  75%|")
    assert "15/20 [" in last
    assert "step/s" in last or "s/step" in last
    assert "loss=0.125" in last


def test_a_step_that_has_been_shown_is_not_shown_again_at_the_end(monkeypatch):
    clock, out = Clock(monkeypatch), io.StringIO()
    with Progress(1, description="train", file=out) as progress:
        clock.now += 60
        progress.update(1, loss=0.5)
    assert out.getvalue() == "train: step 1/1, loss 0.5\n"


def test_a_device_value_is_waited_for_only_when_shown(monkeypatch):
    clock = Clock(monkeypatch)

    class Pending:
        waits = 0

        def __float__(self):
            Pending.waits += 1
            return 0.5

    with Progress(1000, description="train", file=io.StringIO()) as progress:
        for step in range(900):
            clock.now += 0.01
            progress.update(step, loss=Pending())
        assert Pending.waits == 0
    assert Pending.waits == 1


@pytest.mark.parametrize("steps", [[], [0]])
def test_no_progress_is_shown_without_dividing_by_it(steps):
    out = io.StringIO()
    with Progress(5, description="train", file=out) as progress:
        for step in steps:
            progress.update(step)
    assert out.getvalue() == "train: step 0/5\n"


def test_inactive_progress_is_silent():
    out = io.StringIO()
    with Progress(5, description="train", active=False, file=out) as progress:
        progress.update(5, loss=1.0)
    assert out.getvalue() == ""


# A full disk.


class Disk:
    """A disk that is full, or not, for files below a folder whose names hold a text."""

    def __init__(self, monkeypatch, name: str):
        self.full, self._name = False, name
        self._write, self._open = os.write, open
        monkeypatch.setattr(os, "write", self._writing)
        monkeypatch.setattr(record_writer, "open_file", self._file)

    def _check(self, path: str) -> None:
        if self.full and self._name in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _writing(self, descriptor: int, content) -> int:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self.full and self._name in path:
            self._write(descriptor, content[:5])
        self._check(path)
        return self._write(descriptor, content)

    def _file(self, path: str):
        """Buffered, as a file is."""
        disk, file, buffer = self, self._open(path, "wb", buffering=0), []

        class Buffered:
            write = buffer.append

            def flush(self):
                disk._check(path)
                file.write(b"".join(buffer))
                buffer.clear()

            close = file.close

        return Buffered()


def test_tensorboard_never_stops_a_run(tmp_path, monkeypatch, caplog):
    """tensorboardX's own thread died at a full disk, and the eleventh event after it blocked for
    good.
    """
    clock, disk = Clock(monkeypatch), Disk(monkeypatch, "/tensorboard/")
    with MetricWriter(tmp_path) as writer:
        for step in range(1, 61):
            disk.full = 11 <= step <= 40
            clock.now += 5.0
            writer.scalars(step, {"loss": step / 10})
            writer.image(step, "a", np.zeros((2, 2, 3), np.uint8))
    assert [row["step"] for row in read_metrics(tmp_path)] == list(range(1, 61))
    there = {step for step, _, _ in tensorboard_scalars(tmp_path)}
    assert there >= {*range(1, 8), *range(53, 61)}  # ten seconds are buffered, a minute is waited
    assert not there & set(range(11, 41))
    first, last = [record.getMessage() for record in caplog.records]
    assert "tensorboard cannot be written (No space left on device); the run continues" in first
    assert re.search(r"tensorboard lack \d+ events", last)


def test_a_row_for_which_there_is_no_space_is_an_error_and_the_rows_before_are_whole(
    tmp_path, monkeypatch
):
    disk = Disk(monkeypatch, "metrics.jsonl")
    with MetricWriter(tmp_path) as writer:
        writer.scalars(1, {"loss": 1.0})
        disk.full = True
        with pytest.raises(
            InputError, match=r"metrics\.jsonl was not written and the rows before.* intact\. Free"
        ):
            writer.scalars(2, {"loss": 1.0})
        assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 1.0}\n'
        disk.full = False
        writer.scalars(2, {"loss": 1.0})
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]


def test_two_writers_of_the_same_second_have_files_of_their_own(tmp_path):
    for step in (1, 2):
        with MetricWriter(tmp_path) as writer:
            writer.scalars(step, {"loss": 0.5})
    assert [step for step, _, _ in tensorboard_scalars(tmp_path)] == [1, 2]


@pytest.mark.parametrize("value", ['"b"', "9" * 400, "1e999", "true", "[]"])
def test_what_is_no_number_is_a_damaged_row(tmp_path, value):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "a": {value}}}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 1 is damaged \(a is no number\)"):
        read_metrics(tmp_path)
