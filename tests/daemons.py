"""Real sound and radio servers for system tests: each in a temporary folder, on loopback, and ended with its test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode
from urllib.request import HTTPBasicAuthHandler, HTTPPasswordMgrWithDefaultRealm, build_opener

import pytest

START_S = 20.0


def need(*programs: str) -> None:
    """Skip the test where a program is missing; fail it on CI, which must have them all."""
    lacks("not installed", [program for program in programs if shutil.which(program) is None])


def need_packages(*packages: str) -> None:
    """The same for Python packages."""
    lacks("not installed", [package for package in packages if find_spec(package) is None])


def lacks(what: str, missing: list[str]) -> None:
    """Skip the test if something is missing, with the reason; fail it on CI."""
    if not missing:
        return
    if os.environ.get("CI"):
        pytest.fail(f"expected on CI, {what}: {', '.join(missing)}")
    pytest.skip(f"{what}: {', '.join(missing)}")


def wait_until(ready: Callable[[], object], what: str, timeout_s: float = START_S) -> None:
    """Wait for a condition outside this process; fail the test if it does not come."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.05)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a loopback port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


class Daemon:
    """A server process that can be stopped, killed, paused and started again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="genrescope-test-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._helpers: list[subprocess.Popen[bytes]] = []

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Start and wait until it serves."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._command(), env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        process = self._process

        def settled() -> bool:
            if process.poll() is not None:
                pytest.fail(
                    f"{self._command()[0]} ended at once: {(self.folder / 'log').read_text(errors='replace')[-2_000:]}"
                )
            return self._ready()

        wait_until(settled, f"start of {self._command()[0]}")

    def kill(self) -> None:
        """End it without warning."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program beside the server, ended with it."""
        process = subprocess.Popen(
            command,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._helpers.append(process)
        return process

    def end_helpers(self) -> None:
        """End the programs that ``run`` started."""
        for helper in self._helpers:
            if helper.poll() is None:
                helper.kill()
            helper.wait(10)
            if helper.stderr is not None:
                helper.stderr.close()
        self._helpers.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self.end_helpers()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class PulseAudio(Daemon):
    """A sound server whose only sink plays into nothing; its monitor is the input ``device``, 44.1 kHz stereo float.

    ``variables`` are what a program needs in its environment to see this sound server and no other.
    """

    device = "testmic"
    sample_rate_hz = 44_100

    def __init__(self) -> None:
        super().__init__()
        runtime, config = self.folder / "run", self.folder / "config"
        runtime.mkdir(mode=0o700)
        config.mkdir(mode=0o700)
        alsa = self.folder / "asound.conf"
        alsa.write_text(
            "pcm.!default { type pulse }\n"
            "pcm.pulse { type pulse }\n"
            f'pcm.{self.device} {{ type pulse device "test.monitor" hint {{ show on description "monitor" }} }}\n'
        )
        self._socket = runtime / "pulse" / "native"
        self.variables = {
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(config),
            "PULSE_SERVER": f"unix:{self._socket}",
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{alsa}",
        }

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def _command(self) -> list[str]:
        sink = "module-null-sink sink_name=test rate=44100 channels=2 format=float32le"
        return [
            "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes",
            "-L", "module-native-protocol-unix", "-L", sink,
        ]  # fmt: skip

    def _ready(self) -> bool:
        return self._pactl("set-default-source", "test.monitor")

    def _pactl(self, *arguments: str) -> bool:
        done = subprocess.run(
            ["pactl", *arguments], env=self._environment(), capture_output=True, timeout=10, check=False
        )
        return done.returncode == 0

    def play(self, wav: Path) -> subprocess.Popen[bytes]:
        """Begin to play a WAV file into the sink; ``wait()`` for its end."""
        return self.run("paplay", "--device=test", str(wav))


_ICECAST_CONFIG = """<icecast>
  <limits><clients>100</clients><sources>10</sources><burst-size>65535</burst-size></limits>
  <authentication>
    <source-password>{password}</source-password>
    <relay-password>{password}</relay-password>
    <admin-user>admin</admin-user><admin-password>{password}</admin-password>
  </authentication>
  <hostname>127.0.0.1</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths>
    <logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
    <adminroot>/usr/share/icecast2/admin</adminroot>
  </paths>
  <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>3</loglevel></logging>
  <security><chroot>0</chroot>{change_owner}</security>
</icecast>
"""

_ENCODERS = {
    "mp3": ["-c:a", "libmp3lame", "-b:a", "128k", "-content_type", "audio/mpeg", "-f", "mp3"],
    "ogg": ["-c:a", "libvorbis", "-content_type", "application/ogg", "-f", "ogg"],
    "opus": ["-c:a", "libopus", "-content_type", "application/ogg", "-f", "ogg"],
    "aac": ["-c:a", "aac", "-content_type", "audio/aac", "-f", "adts"],
}


class Icecast(Daemon):
    """A radio server on a loopback port; ``feed`` puts a station on the air. Its configuration outlives a restart."""

    password = "hackme"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        root = os.geteuid() == 0
        if root:  # icecast refuses to run as root
            owner = pwd.getpwnam("icecast2")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._config = self.folder / "icecast.xml"
        self._config.write_text(
            _ICECAST_CONFIG.format(
                password=self.password,
                port=self.port,
                folder=self.folder,
                change_owner="<changeowner><user>icecast2</user><group>icecast</group></changeowner>" if root else "",
            )
        )
        self._config.chmod(0o644)

    def _command(self) -> list[str]:
        return ["icecast2", "-c", str(self._config)]

    def _ready(self) -> bool:
        return listens(self.port)

    def url(self, mount: str) -> str:
        """Where a listener finds the station."""
        return f"http://127.0.0.1:{self.port}/{mount}"

    def feed(self, wav: Path, kind: str = "mp3", *, mount: str | None = None) -> str:
        """Send a WAV file for ever, as mp3, ogg (Vorbis), opus or aac; the station's address, once it is on the air."""
        mount = mount or f"live.{kind}"
        self.run(
            "ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(wav), *_ENCODERS[kind],
            f"icecast://source:{self.password}@127.0.0.1:{self.port}/{mount}",
        )  # fmt: skip
        wait_until(lambda: self._on_air(mount), f"/{mount} on the air")
        return self.url(mount)

    def _on_air(self, mount: str) -> bool:
        return mount.encode() in self._admin("/status-json.xsl")

    def set_title(self, mount: str, title: bytes) -> None:
        """Announce a title in Latin-1 or UTF-8 bytes, which icecast passes on as they are."""
        query = urlencode({"mount": f"/{mount}", "mode": "updinfo", "charset": "ISO-8859-1", "song": title})
        self._admin(f"/admin/metadata?{query}")

    def _admin(self, path: str) -> bytes:
        passwords = HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, f"http://127.0.0.1:{self.port}", "admin", self.password)
        opener = build_opener(HTTPBasicAuthHandler(passwords))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return bytes(answer.read())
