"""Readers in a process of their own: limits, an audit of what they do, a verdict."""

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from fuzzing.cases import Case
from fuzzing.targets import READ, REFUSED, read_input

FAILED = "FAILED"
CPU_SECONDS = 5.0
"""Time of the processor that an input may take."""
WALL_SECONDS = 60.0
"""Silence after which the process counts as hanging."""
MEMORY = 256 * 2**20
"""Bytes that an input may take: none is larger than 512 KiB."""
ADDRESS_SPACE = 1 << 30
"""Bytes beyond those at the start that can be had at all."""


@dataclass(frozen=True)
class Verdict:
    """What became of an input."""

    number: int
    """Position in the sequence of inputs."""
    verdict: str
    """`READ`, `REFUSED` or `FAILED`."""
    message: str
    """Of the refusal or the failure."""
    seconds: float
    """Time of the processor."""
    megabytes: float
    """Growth of the resident memory."""


class CaseTimeout(BaseException):
    """Not an `Exception`: readers must not catch it."""


def judge(cases: Iterable[tuple[int, Case]]) -> Iterator[tuple[Case, Verdict]]:
    """Read inputs one after another; one that kills the process costs only itself.

    Args:
        cases: Inputs and their numbers.
    """
    pending = iter(cases)
    left: tuple[int, Case] | None = next(pending, None)
    while left is not None:
        worker = _Worker()
        try:
            while left is not None:
                number, case = left
                verdict = worker.read(number, case)
                yield case, verdict
                left = next(pending, None)
                if worker.dead:
                    break
        finally:
            worker.close()


class _Worker:
    """A forked process that reads inputs from its folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="equipot-fuzz-"))
        (self.folder / "input").mkdir()
        self.dead = False
        ask_read, self._ask = os.pipe()
        self._answer, answer_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._ask)
            os.close(self._answer)
            try:
                _serve(self.folder, ask_read, answer_write)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(ask_read)
        os.close(answer_write)
        self._lines = os.fdopen(self._answer, "rb", buffering=0)

    def read(self, number: int, case: Case) -> Verdict:
        """Have one input read."""
        path = self.folder / "input" / case.name
        path.write_bytes(case.data)
        question = json.dumps({"kind": case.kind, "name": case.name}) + "\n"
        try:
            os.write(self._ask, question.encode())
            answer = self._wait()
        except BrokenPipeError:
            answer = None
        if isinstance(answer, dict):
            return Verdict(number=number, **answer)
        self.dead = True
        return Verdict(number, FAILED, self._obituary(answer), 0.0, 0.0)

    def _wait(self) -> dict[str, Any] | str | None:
        """The answer; None if the process died, a text if it is silent."""
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._lines], [], [], WALL_SECONDS)
            if not ready:
                return f"hangs: no answer for {WALL_SECONDS:.0f} s"
            piece = self._lines.read(65536)
            if not piece:
                return None
            line += piece
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _obituary(self, answer: str | None) -> str:
        if answer is not None:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        code = os.waitstatus_to_exitcode(status)
        return answer or f"the process died with status {code}"

    def close(self) -> None:
        """End the process."""
        os.close(self._ask)
        self._lines.close()
        if self.pid:
            os.waitpid(self.pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)


def _serve(folder: Path, questions: int, answers: int) -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with (folder / "output.log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.chdir(folder / "input")
    warnings.simplefilter("ignore")
    _limit()
    audit = _Audit(folder)
    sys.addaudithook(audit)
    with os.fdopen(questions, "rb") as lines:
        for line in lines:
            question = json.loads(line)
            path = folder / "input" / question["name"]
            answer = _verdict(question["kind"], path, audit)
            for other in path.parent.iterdir():
                shutil.rmtree(other) if other.is_dir() else other.unlink()
            os.write(answers, (json.dumps(answer) + "\n").encode())


def _limit() -> None:
    used = int(_status("VmSize")) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _time_is_up)


def _time_is_up(signum: int, frame: FrameType | None) -> None:
    raise CaseTimeout(
        f"at {frame.f_code.co_filename}:{frame.f_lineno}" if frame else ""
    )


def _verdict(kind: str, path: Path, audit: "_Audit") -> dict[str, Any]:
    before = path.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    memory, start = _status("VmRSS"), time.process_time()
    audit.begin()
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        try:
            verdict, message = read_input(kind, path)
        finally:  # within the outer block: the time may be up at just this moment
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    except CaseTimeout as error:
        verdict, message = FAILED, f"hangs: {CPU_SECONDS:.0f} s of computing {error}"
    except BaseException as error:
        verdict, message = FAILED, _describe(error)
    deeds = audit.end()
    seconds = time.process_time() - start
    megabytes = (_status("VmHWM") - memory) / 1024
    if deeds:
        verdict, message = FAILED, f"executed: {'; '.join(deeds)[:500]}"
    elif megabytes > MEMORY / 2**20:
        verdict, message = FAILED, f"took {megabytes:.0f} MiB; {message}"
    elif not path.exists() or path.read_bytes() != before:
        verdict, message = FAILED, f"changed its input; {message}"
    elif others := [p.name for p in path.parent.iterdir() if p != path]:
        verdict, message = FAILED, f"made files {others[:3]}; {message}"
    return {
        "verdict": verdict,
        "message": message[:1500].encode(errors="replace").decode(),
        "seconds": seconds,
        "megabytes": max(megabytes, 0.0),
    }


def _describe(error: BaseException) -> str:
    """Type, message and the last lines of code that an error passed."""
    with suppress(Exception):
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[::-1])
        return f"{type(error).__name__}: {str(error)[:600]} [{where}]"
    return type(error).__name__


def _status(field: str) -> float:
    """A field of the kernel's account of this process, in KiB."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(field.encode()):
                return float(line.split()[1])
    raise OSError(f"/proc/self/status has no field {field}")


def _writes_code(caller: str) -> bool:
    """Whether code comes from a library that writes its own, never from an input."""
    return (
        caller.endswith(
            ("/dataclasses.py", "/collections/__init__.py", "/attr/_make.py")
        )
        or "/torch/fx/" in caller
    )


class _Audit:
    """Notes what no reader has reason to do."""

    FORBIDDEN = (
        "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn",
        "os.fork", "os.forkpty", "pickle.find_class", "ctypes.dlopen",
        "socket.connect", "socket.getaddrinfo", "os.remove", "os.rename", "os.mkdir",
        "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.kill", "shutil.rmtree",
        "webbrowser.open", "urllib.Request",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._deeds: list[str] | None = None

    def begin(self) -> None:
        self._deeds = []

    def end(self) -> list[str]:
        deeds, self._deeds = self._deeds or [], None
        return deeds

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._deeds is None:
            return
        if event in self.FORBIDDEN:
            if not self._own(event, arguments):
                self._deeds.append(f"{event}{str(arguments)[:200]}")
        elif event == "exec":
            name = getattr(arguments[0], "co_filename", "")
            generated = name.startswith("<") and not name.startswith("<frozen")
            if generated and not _writes_code(sys._getframe(1).f_code.co_filename):
                self._deeds.append(f"exec of code from {name}")
        elif event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if writes and not self._inside(path):
                self._deeds.append(f"open{str(arguments)[:200]}")
        elif event == "sqlite3.connect" and not self._inside(arguments[0]):
            self._deeds.append(f"sqlite3.connect{str(arguments)[:200]}")

    def _own(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether this is done to files of this process: the cache, or a target's."""
        places = {"os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.rename": 2}
        paths = arguments[: places.get(event, 0)]
        return bool(paths) and all(self._inside(path) for path in paths)

    def _inside(self, path: object) -> bool:
        if isinstance(path, int) or path == "/dev/null":
            return True
        text = os.fsdecode(path).removeprefix("file:").partition("?")[0]
        return os.path.realpath(text).startswith(self._folder)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Plain values of a verdict."""
    return asdict(verdict)


__all__ = ["FAILED", "READ", "REFUSED", "Verdict", "judge"]
