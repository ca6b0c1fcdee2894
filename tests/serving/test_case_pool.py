from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from nodogram.errors import NodogramError, Reason
from nodogram.geometry import Geometry
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.predict import MeasuredCase, Measurement
from nodogram.radiomics.manifest import feature_names
from nodogram.volume import Mask, Volume
from serving.archive import ArchiveLimits
from serving.case_pool import CasePool
from serving.case_process import _portable
from serving.case_worker import CaseLimits, measure_request
from serving.config import ServerSettings
from serving.requests import CaseRequest, StoredFiles, StoredRegion
from training.recipe import load_recipe

LIMITS = CaseLimits(ArchiveLimits(2**28, 500), 2**24)


@pytest.fixture(scope="module")
def wanted(tiny_recipe: Path) -> Measurement:
    settings = load_recipe(str(tiny_recipe)).model
    return Measurement(settings, feature_names(settings.radiomics)[::7], True)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> CaseRequest:
    folder = tmp_path_factory.mktemp("case")
    geometry = Geometry((30, 60, 60), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    hu = np.rint(np.random.default_rng(1).normal(50, 30, geometry.shape)).astype(np.float32)
    inside = np.zeros(geometry.shape, np.bool_)
    inside[10:18, 20:40, 22:38] = True
    write_volume_file(folder / "ct.nrrd", Volume(hu, geometry))
    write_mask_file(folder / "roi.nrrd", Mask(inside, geometry))
    return CaseRequest("good", StoredFiles(folder / "ct.nrrd", folder / "roi.nrrd"))


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[CaseRequest]:
    """Return a case whose reading waits for ever: a pipe nobody writes to."""
    pipe = tmp_path / "upload.zip"
    os.mkfifo(pipe)
    yield CaseRequest("endless", StoredFiles(pipe, tmp_path / "roi.nrrd"))
    pipe.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def pool_of(count: int, wanted: Measurement) -> AsyncIterator[CasePool]:
    pool = CasePool(wanted, ServerSettings(bundle=Path("unused"), case_workers=count))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def with_pool(count: int, wanted: Measurement, body: Callable[[CasePool], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(40), pool_of(count, wanted) as pool:
            await body(pool)

    asyncio.run(main())


async def measured(pool: CasePool, request: CaseRequest, seconds: float = 20.0) -> MeasuredCase:
    return await pool.measure(request, deadline_s=time.monotonic() + seconds)


async def refusal(awaited: Awaitable[object]) -> Reason:
    with pytest.raises(NodogramError) as caught:
        await awaited
    return caught.value.reason


def processes(pool: CasePool) -> set[int]:
    return {process.pid for process in pool._processes}


def idle(pool: CasePool) -> set[int]:
    return {seat.process.result().pid for seat in pool._idle._queue}  # type: ignore[attr-defined]


async def begun(pool: CasePool, other_than: int = 0) -> int:
    """Wait until a process is in the middle of a case, alone in that, and return it."""
    while True:
        busy = processes(pool) - idle(pool) - {other_than}
        if len(busy) == 1 and not pool.waiting and not pool._starts:
            await asyncio.sleep(0.05)
            return busy.pop()
        await asyncio.sleep(0.005)


async def end(endless: CaseRequest) -> None:
    """Give the case something to read after all: no zip."""
    assert isinstance(endless.source, StoredFiles)
    with contextlib.suppress(BrokenPipeError):
        await asyncio.to_thread(endless.source.image.write_bytes, b"no zip")


async def gone(pids: set[int], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        await asyncio.sleep(0.02)
    return False


def test_the_numbers_are_those_of_a_direct_call(wanted: Measurement, good: CaseRequest) -> None:
    expected = measure_request(good, wanted, LIMITS, time.monotonic() + 60)

    async def body(pool: CasePool) -> None:
        for found in await asyncio.gather(*(measured(pool, good) for _ in range(4))):
            np.testing.assert_allclose(found.radiomics.values, expected.radiomics.values, rtol=1e-12)
            assert found.pixels is not None
            assert expected.pixels is not None
            np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-6)
            assert found.notes == expected.notes
            assert set(found.stage_s) == {"queue", "decode", "prepare", "radiomics"}
            found.stage_s["backbone"] = 0.0

    with_pool(2, wanted, body)


def test_it_costs_little(wanted: Measurement, tmp_path: Path) -> None:
    nothing = CaseRequest("nothing", StoredFiles(tmp_path / "absent.nii", tmp_path / "absent.nii"))

    async def body(pool: CasePool) -> None:
        seconds = []
        for _ in range(100):
            start = time.perf_counter()
            assert await refusal(measured(pool, nothing)) is Reason.FILE_NOT_FOUND
            seconds.append(time.perf_counter() - start)
        assert statistics.median(seconds) < 0.005
        start = time.perf_counter()
        await asyncio.gather(*(refusal(measured(pool, nothing)) for _ in range(500)))
        assert 500 / (time.perf_counter() - start) > 500

    with_pool(2, wanted, body)


def test_workers_have_one_thread_for_arithmetic(wanted: Measurement, good: CaseRequest) -> None:
    async def body(pool: CasePool) -> None:
        await measured(pool, good)
        for pid in processes(pool):
            # Its own and the one that watches for the end of the server.
            assert psutil.Process(pid).num_threads() == 2
            assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
            kinds = [str(fd.readlink()).split(":")[0] for fd in Path(f"/proc/{pid}/fd").iterdir()]
            assert kinds.count("socket") <= 1  # to the server

    with_pool(2, wanted, body)


def test_what_waits_is_seen(wanted: Measurement, good: CaseRequest, endless: CaseRequest) -> None:
    async def body(pool: CasePool) -> None:
        assert (pool.waiting, pool.oldest_s) == (0, 0.0)
        busy = asyncio.create_task(measured(pool, endless))
        await begun(pool)
        waiting = [asyncio.create_task(measured(pool, good)) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert pool.waiting == 3
        assert 0.2 < pool.oldest_s < 2
        before = processes(pool)
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert pool.waiting == 2
        # A case that waits is cancelled without any harm to processes.
        assert processes(pool) == before
        busy.cancel()
        for case in await asyncio.gather(*waiting[1:]):
            assert 0.2 < case.stage_s["queue"] < 5
        assert (pool.waiting, pool.oldest_s) == (0, 0.0)

    with_pool(1, wanted, body)


def test_a_hanging_case_ends_at_its_deadline_and_harms_no_other(
    wanted: Measurement, good: CaseRequest, endless: CaseRequest
) -> None:
    async def body(pool: CasePool) -> None:
        start = time.monotonic()
        hanging = asyncio.create_task(refusal(measured(pool, endless, 0.8)))
        hung = await begun(pool)
        while not hanging.done():
            await measured(pool, good)
        assert await hanging is Reason.DEADLINE_EXCEEDED
        assert 0.7 < time.monotonic() - start < 1.8
        assert await gone({hung})
        await asyncio.gather(*(measured(pool, good) for _ in range(4)))
        assert len(processes(pool)) == 2

    with_pool(2, wanted, body)


def test_a_deadline_ends_waiting_too(wanted: Measurement, good: CaseRequest, endless: CaseRequest) -> None:
    async def body(pool: CasePool) -> None:
        busy = asyncio.create_task(measured(pool, endless))
        pids = {await begun(pool)}
        assert await refusal(measured(pool, good, 0.2)) is Reason.DEADLINE_EXCEEDED
        assert await refusal(measured(pool, good, -1.0)) is Reason.DEADLINE_EXCEEDED
        assert processes(pool) == pids
        busy.cancel()
        await measured(pool, good)

    with_pool(1, wanted, body)


def test_cancelling_frees_the_process_and_the_files(wanted: Measurement, good: CaseRequest, endless: CaseRequest) -> None:
    async def body(pool: CasePool) -> None:
        task = asyncio.create_task(measured(pool, endless))
        pids = {await begun(pool)}
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < 1
        # Nobody reads them any more: a spool folder may be removed now.
        assert isinstance(endless.source, StoredFiles)
        shutil.rmtree(endless.source.image.parent)
        assert await gone(pids)
        await measured(pool, good)

    with_pool(1, wanted, body)


def test_a_killed_process_is_replaced_and_its_case_tried_again(
    wanted: Measurement, good: CaseRequest, endless: CaseRequest
) -> None:
    async def body(pool: CasePool) -> None:
        task = asyncio.create_task(refusal(measured(pool, endless)))
        first = await begun(pool)
        others = [asyncio.create_task(measured(pool, good)) for _ in range(8)]
        os.kill(first, signal.SIGKILL)
        await asyncio.gather(*others)
        second = await begun(pool, other_than=first)
        # The second attempt reads it.
        await end(endless)
        assert await task is Reason.ARCHIVE_INVALID
        assert second in processes(pool)

    with_pool(2, wanted, body)


def test_a_case_that_kills_twice_is_given_up(wanted: Measurement, good: CaseRequest, endless: CaseRequest) -> None:
    async def body(pool: CasePool) -> None:
        task = asyncio.create_task(refusal(measured(pool, endless)))
        first = await begun(pool)
        os.kill(first, signal.SIGKILL)
        assert await gone({first})
        second = await begun(pool, other_than=first)
        os.kill(second, signal.SIGKILL)
        assert await task is Reason.CASE_WORKER_KILLED
        await measured(pool, good)
        assert len(processes(pool)) == 1

    with_pool(1, wanted, body)


def test_an_idle_process_may_die_unnoticed(wanted: Measurement, good: CaseRequest) -> None:
    async def body(pool: CasePool) -> None:
        for pid in processes(pool):
            os.kill(pid, signal.SIGKILL)
        for case in await asyncio.gather(*(measured(pool, good) for _ in range(3))):
            assert case.radiomics.names == wanted.radiomics
        assert len(processes(pool)) == 2

    with_pool(2, wanted, body)


def test_processes_killed_at_any_moment(wanted: Measurement, good: CaseRequest) -> None:
    """Also while they send what a pipe does not take at once: the death of one is never felt by another."""

    async def body(pool: CasePool) -> None:
        rng = random.Random(0)
        done = False

        async def kill_some() -> None:
            while not done:
                await asyncio.sleep(rng.uniform(0.05, 0.25))
                for pid in processes(pool) - idle(pool):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        break

        killing = asyncio.create_task(kill_some())
        answers = await asyncio.gather(*(measured(pool, good) for _ in range(60)), return_exceptions=True)
        done = True
        await killing
        reasons = [answer.reason for answer in answers if isinstance(answer, NodogramError)]
        assert set(reasons) <= {Reason.CASE_WORKER_KILLED}
        assert len([answer for answer in answers if isinstance(answer, MeasuredCase)]) == 60 - len(reasons) > 20
        await asyncio.gather(*(measured(pool, good) for _ in range(4)))
        while len(idle(pool)) < 2:
            await asyncio.sleep(0.01)
        assert processes(pool) == idle(pool)

    with_pool(2, wanted, body)


def test_signals_to_every_child_leave_cases_alone(wanted: Measurement, good: CaseRequest, endless: CaseRequest) -> None:
    async def body(pool: CasePool) -> None:
        task = asyncio.create_task(refusal(measured(pool, endless)))
        busy = await begun(pool)
        server_of_forks = psutil.Process(busy).parent()
        assert server_of_forks is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            for pid in (*processes(pool), server_of_forks.pid):
                os.kill(pid, number)
        await asyncio.gather(*(measured(pool, good) for _ in range(4)))
        await end(endless)
        assert await task is Reason.ARCHIVE_INVALID
        # And a dead process is still replaced, though what it was forked from is gone.
        os.kill(busy, signal.SIGKILL)
        await asyncio.gather(*(measured(pool, good) for _ in range(4)))
        assert busy not in processes(pool)

    with_pool(2, wanted, body)


def test_unexpected_errors_come_back_as_they_are(wanted: Measurement, good: CaseRequest, tmp_path: Path) -> None:
    geometry = Geometry((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    lost = CaseRequest("lost", StoredRegion(tmp_path / "lost", 16, 8, geometry))

    async def body(pool: CasePool) -> None:
        pids = processes(pool)
        with pytest.raises(FileNotFoundError) as caught:
            await measured(pool, lost)
        assert "measure_request" in "".join(caught.value.__notes__)
        await measured(pool, good)
        assert processes(pool) == pids

    with_pool(1, wanted, body)


class FussyError(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")


def test_errors_that_cannot_travel_are_described() -> None:
    assert isinstance(_portable(FussyError(3, detail="x")), RuntimeError)
    assert "FussyError" in str(_portable(FussyError(3, detail="x")))
    error = KeyError("x")
    assert _portable(error) is error


def test_closing_ends_everything(wanted: Measurement, good: CaseRequest, endless: CaseRequest) -> None:
    async def main() -> None:
        pool = CasePool(wanted, ServerSettings(bundle=Path("unused"), case_workers=1))
        await pool.start()
        pids = processes(pool)
        cases = [asyncio.create_task(refusal(measured(pool, endless)))]
        await begun(pool)
        cases += [asyncio.create_task(refusal(measured(pool, good))) for _ in range(3)]
        await asyncio.sleep(0.05)
        start = time.monotonic()
        await pool.close()
        assert await asyncio.gather(*cases) == [Reason.NOT_READY] * 4
        assert await refusal(measured(pool, good)) is Reason.NOT_READY
        assert time.monotonic() - start < 2
        assert await gone(pids)

    asyncio.run(main())


SERVER = """
    import asyncio, sys, time
    from pathlib import Path
    from nodogram.predict import Measurement
    from serving.case_pool import CasePool
    from serving.config import ServerSettings
    from serving.requests import CaseRequest, StoredFiles
    from training.recipe import load_recipe

    async def main():
        wanted = Measurement(load_recipe(sys.argv[1]).model, (), True)
        pool = CasePool(wanted, ServerSettings(bundle=Path("unused"), case_workers=2))
        await pool.start()
        case = pool.measure(CaseRequest("x", StoredFiles(Path(sys.argv[2]), Path("x"))), deadline_s=time.monotonic() + 60)
        task = asyncio.create_task(case)
        await asyncio.sleep(0.2)
        print(*(process.pid for process in pool._processes), flush=True)
        await asyncio.sleep(float(sys.argv[3]))
        {end}

    if __name__ == "__main__":
        asyncio.run(main())
"""


def server(tmp_path: Path, recipe: Path, request: CaseRequest, lifetime_s: float, end: str = "") -> subprocess.Popen[str]:
    script = tmp_path / "server.py"
    script.write_text(textwrap.dedent(SERVER).format(end=end), encoding="utf-8")
    assert isinstance(request.source, StoredFiles)
    command = [sys.executable, str(script), str(recipe), str(request.source.image), str(lifetime_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_a_killed_server_leaves_no_process(tiny_recipe: Path, endless: CaseRequest, tmp_path: Path) -> None:
    with server(tmp_path, tiny_recipe, endless, 60) as parent:
        assert parent.stdout is not None
        pids = {int(word) for word in parent.stdout.readline().split()}
        assert len(pids) == 2
        forks = psutil.Process(next(iter(pids))).parent()
        assert forks is not None
        parent.kill()
        assert parent.wait() == -signal.SIGKILL
    assert asyncio.run(gone(pids | {forks.pid}))


@pytest.mark.parametrize("end", ["", "import os; os._exit(3)", "raise SystemExit(3)"])
def test_a_server_that_forgets_to_close_still_ends(end: str, tiny_recipe: Path, endless: CaseRequest, tmp_path: Path) -> None:
    with server(tmp_path, tiny_recipe, endless, 0.1, end) as parent:
        assert parent.stdout is not None
        pids = {int(word) for word in parent.stdout.readline().split()}
        assert len(pids) == 2
        assert parent.wait(10) == (3 if end else 0)
    assert asyncio.run(gone(pids))


def test_a_process_that_cannot_be_reached_ends_itself(tiny_recipe: Path, endless: CaseRequest, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent("""
            import multiprocessing, sys, time
            from pathlib import Path
            from nodogram.predict import Measurement
            from serving import case_process
            from serving.archive import ArchiveLimits
            from serving.case_worker import CaseLimits
            from serving.requests import CaseRequest, StoredFiles
            from training.recipe import load_recipe

            case_process._OVERTIME_S = 0.3
            ours, theirs = multiprocessing.Pipe()
            ours.send((CaseRequest("x", StoredFiles(Path(sys.argv[2]), Path("x"))), time.monotonic()))
            wanted = Measurement(load_recipe(sys.argv[1]).model, (), True)
            case_process.run(theirs, wanted, CaseLimits(ArchiveLimits(1, 1), 1))
        """),
        encoding="utf-8",
    )
    assert isinstance(endless.source, StoredFiles)
    command = [sys.executable, str(script), str(tiny_recipe), str(endless.source.image)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "unpack" in done.stderr
