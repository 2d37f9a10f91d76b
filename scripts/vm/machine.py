"""A running virtual machine: QEMU, and the channel to the agent in it.

The machine gets the disk of an image, and forgets at its end what it wrote there. A second disk is
a tar of files, which are unpacked at the start.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.vm.image import Image

BOOT = 400.0  # seconds; 20 on idle cores, and 4 with KVM
MEMORY = "768M"
# Parameters of the kernel, beside those of the hardware.
PARAMETERS = ("root=/dev/vda", "rw", "quiet", "net.ifnames=0", "init=/usr/local/sbin/vm-init")
# The script that prints the name of the second disk.
READ_ONLY = "cd /sys/block && grep -lx 1 vd?/ro | cut -d/ -f1"
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Link:
    """A network cable between two machines, as QEMU's options of its two ends."""

    path: Path

    def end(self, side: int, number: int) -> list[str]:
        """Return the options for one end of cable ``number``; the end of ``side`` 0 listens."""
        listens = "server=off,reconnect-ms=100" if side else "server=on"
        stream = f"stream,id=cable{number},{listens},addr.type=unix,addr.path={self.path}"
        address = f"52:54:00:00:{number:02x}:{side:02x}"
        return [
            *("-netdev", stream),
            *("-device", f"virtio-net-pci,netdev=cable{number},mac={address}"),
        ]


@dataclass
class Machine:
    """A machine that answers; ``directory`` has its socket and its console's log."""

    directory: Path
    process: subprocess.Popen[bytes]
    channel: socket.socket
    _answers: dict[int, queue.Queue[dict[str, Any]]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def start(
        cls,
        image: Image,
        directory: Path,
        *,
        name: str,
        files: Path,
        network: Sequence[str] = (),
        kvm: Path | None = None,
    ) -> Machine:
        """Start a machine, and wait for its agent. Raises TimeoutError with the console's end.

        ``files`` is the tar that is unpacked in its root directory. Without ``kvm``, the device
        file of KVM, the processor is emulated.
        """
        directory.mkdir()
        hardware = image.hardware
        accelerator = ["-accel", f"kvm,device={kvm}", "-cpu", "host"] if kvm else ["-accel", "tcg"]
        parameters = [*PARAMETERS, f"console={hardware.console}", *hardware.parameters]
        path = directory / "agent"
        command = [
            *(hardware.program, *hardware.options, *accelerator),
            *("-nodefaults", "-no-user-config", "-display", "none", "-m", MEMORY, "-smp", "1"),
            *("-serial", f"file:{directory / 'console'}"),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
            *("-append", " ".join(parameters)),
            *("-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on"),
            *("-drive", f"file={files},format=raw,if=virtio,readonly=on"),
            *("-device", "virtio-serial", "-chardev", f"socket,id=agent,path={path},server=on"),
            *("-device", "virtserialport,chardev=agent,name=agent", *network),
        ]
        with (directory / "qemu").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        machine = cls(directory, process, channel)
        try:
            machine._connect(path)
            unpack = f"hostname {name}; tar -C / -xpf /dev/$({READ_ONLY})"
            machine.run("sh", "-c", unpack, timeout=BOOT)
        except BaseException:
            machine.stop()
            raise
        return machine

    def _connect(self, path: Path) -> None:
        end = time.monotonic() + BOOT
        while True:
            try:
                self.channel.connect(str(path))
                break
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise TimeoutError(f"QEMU did not start: {self.console()}") from error
                time.sleep(0.02)
        greeting = self._answers[0] = queue.Queue()
        threading.Thread(target=self._receive, daemon=True).start()
        try:
            greeted = greeting.get(timeout=BOOT)
        except queue.Empty:
            raise TimeoutError(f"the machine did not start: {self.console()}") from None
        if "status" in greeted:  # what ``_receive`` says in place of the agent
            raise TimeoutError(f"QEMU has ended: {self.console()}")

    def _receive(self) -> None:
        with contextlib.suppress(OSError), self.channel.makefile("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):  # the machine has ended in the middle of an answer
                    break
                message = json.loads(line)
                self._answers[message["id"]].put(message)
        for waiting in list(self._answers.values()):  # the machine has ended
            waiting.put({"status": None, "stdout": "", "stderr": self.console()})

    def console(self) -> str:
        """Return the end of what QEMU and the kernel have said."""
        texts = [
            (self.directory / name).read_text(errors="replace") for name in ("qemu", "console")
        ]
        return "".join(texts)[-4000:]

    def run(
        self,
        *words: str | Path,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        text: str = "",
        check: bool = True,
        timeout: float = 120,
    ) -> Done:
        """Run a command in the machine. A failure, or the machine's end, fails an assertion."""
        number = next(self._numbers)
        answer = self._answers[number] = queue.Queue()
        argv = [*map(str, words)]
        order = {
            "id": number,
            "argv": argv,
            "env": {"PATH": PATH, "LANG": "C.UTF-8", **(env or {})},
            "user": user,
            "cwd": cwd,
            "input": text,
        }
        self.channel.sendall(json.dumps(order).encode() + b"\n")
        try:
            found = answer.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"{' '.join(argv)}: no answer; {self.console()}") from None
        finally:
            del self._answers[number]
        status = -1 if found["status"] is None else found["status"]
        done = Done(argv, status, found["stdout"], found["stderr"])
        assert not check or done.returncode == 0, (argv, done.stdout, done.stderr)
        return done

    def stop(self) -> None:
        """Cut the machine's power."""
        self.process.kill()
        self.process.wait()
        self.channel.close()
