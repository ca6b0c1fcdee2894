"""What every request goes through, whatever its protocol."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest
from small_server import small_door

from nodogram.errors import NodogramError, Reason, ServiceError
from serving.admission import Admission, QueueFullError
from serving.front_door import accepted_request_id
from serving.lifecycle import Lifecycle, Phase


def test_uploads_are_bounded_and_leave_nothing(tmp_path: Path) -> None:
    door = small_door(tmp_path, maximum_cases=2).door
    with ExitStack() as stack:
        folders = [stack.enter_context(door.spool()) for _ in range(4)]
        assert len(set(folders)) == 4
        with pytest.raises(QueueFullError, match="QUEUE_FULL"), door.spool():
            pass
    assert list(tmp_path.iterdir()) == []
    with door.spool() as folder:
        assert folder.is_dir()


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (ServiceError(Reason.ROI_EMPTY, "no voxel"), Reason.ROI_EMPTY),
        (ZeroDivisionError("1/0"), Reason.INTERNAL),
        (None, Reason.DEADLINE_EXCEEDED),
    ],
)
def test_whatever_happens_leaves_with_a_reason_and_is_counted_once(
    tmp_path: Path, raised: Exception | None, reason: Reason
) -> None:
    small = small_door(tmp_path)

    async def run() -> None:
        async with small.door.open("http", "predict", timeout_s=0.05) as ticket:
            assert 0 < ticket.left_s <= 0.05
            if raised is not None:
                raise raised
            await asyncio.sleep(1)

    with pytest.raises(NodogramError) as caught:
        asyncio.run(run())
    assert caught.value.reason is reason
    assert small.count("predict", reason) == 1


def test_the_request_id_of_a_caller_is_taken_if_it_is_a_plain_word() -> None:
    assert accepted_request_id("pacs-7.a:b_c") == "pacs-7.a:b_c"
    for given in (None, "", "a b", "a\nb", "é", "x" * 129):
        assert accepted_request_id(given) != given
    assert accepted_request_id(None) != accepted_request_id(None)


def test_the_wait_grows_with_the_queue() -> None:
    admission = Admission(limit=8, workers=2)
    for _ in range(50):
        admission.took(10.0)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(admission.place())
        with pytest.raises(QueueFullError) as caught:
            admission.check()
    # Half of eight cases of ten seconds, on two workers.
    assert caught.value.retry_after_s == 20
    admission.check()


def test_phases() -> None:
    seen: list[bool] = []
    lifecycle = Lifecycle()
    lifecycle.on_change(seen.append)
    with pytest.raises(ServiceError, match="NOT_READY"):
        lifecycle.check()
    lifecycle.ready()
    lifecycle.check()
    lifecycle.drain()
    lifecycle.check()  # what still comes is served
    assert seen == [False, True, False]
    lifecycle.ready()
    assert lifecycle.phase is Phase.DRAINING
    failed = Lifecycle()
    failed.fail(ServiceError(Reason.PROVIDER_UNAVAILABLE, "no GPU"))
    with pytest.raises(ServiceError, match="PROVIDER_UNAVAILABLE"):
        failed.check()


def test_a_spooled_file_is_private_counted_and_gone_afterwards(tmp_path: Path) -> None:
    door = small_door(tmp_path, maximum_cases=1).door
    with door.spool_file() as first, door.spool():
        assert first.stat().st_mode & 0o777 == 0o600
        with pytest.raises(QueueFullError, match="QUEUE_FULL"), door.spool_file():
            pass
    with door.spool_file() as removed:
        removed.unlink()
    assert list(tmp_path.iterdir()) == []
