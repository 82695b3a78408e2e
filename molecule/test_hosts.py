"""Whole Debian hosts for molecule, on one machine: systemd-nspawn in a network namespace that nothing else is in.

    test_hosts.py image CACHE                         build the hosts' root file system once, and print its path
    test_hosts.py run SCENARIO ARCHIVE -- COMMAND     run a command beside the scenario's hosts, and end them afterwards
    test_hosts.py create SCENARIO NAME=ADDRESS ...    make and boot hosts
    test_hosts.py kill|boot|remove SCENARIO NAME ...  pull the plug, switch on again, throw away
    test_hosts.py destroy SCENARIO                    throw all away

`run` makes the namespace with a bridge; its only way out ends in a wire that nobody answers. Whatever is sent there, by
a host or by the plays themselves, fails the run: with a bundle nothing is downloaded. A host is booted with systemd as
its process 1 and is reached by SSH.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".build/molecule"
BRIDGE, GATEWAY, PREFIX = "aigw0", "198.18.0.1", 24  # the benchmark range of RFC 2544: nobody's addresses
WIRE = ("aigw-out", "aigw-nobody")
PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,iproute2,kmod,procps,ca-certificates,"
    "python3-yaml,openssl,redis-server,iptables"  # what the k3s stand-in needs
)
# A firewall rule of the host's owner, which installing and resetting leave alone.
OWNER_RULE = """[Service]
Type=oneshot
ExecStart=/usr/sbin/iptables -A INPUT -s 203.0.113.9 -j DROP
[Install]
WantedBy=multi-user.target
"""
CLONE_NEWNET = 0x40000000
ETH_P_IP, PR_SET_CHILD_SUBREAPER = 0x0800, 36


def sh(*command: str | Path, check: bool = True) -> str:
    """Run a program; its output is returned, and shown when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def until(what: str, ready: Callable[[], object], deadline_s: float) -> None:
    """Poll a condition until a deadline."""
    end = time.monotonic() + deadline_s
    while not ready():
        if time.monotonic() > end:
            sys.exit(f"{what} did not happen within {deadline_s:.0f} s")
        time.sleep(0.1)


def image(cache: Path) -> Path:
    """The root file system's archive in the cache, named by its content; beside it the packages a bundle would carry.

    Both are built, when they are missing, from the machine's own Debian mirror.
    """
    wanted = list(yaml.safe_load((ROOT / "versions.yml").read_text())["debian"]["packages"])
    key = _short(repr((PACKAGES, wanted)))
    archive = cache / f"test-hosts-{key}.tar"
    with archive.with_suffix(".lock").open("w") as lock:
        # Held by who builds it, until it is there.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _build_image(archive, wanted)
    return archive


def _build_image(archive: Path, packages: list[str]) -> None:
    print("building the test hosts' root file system (a minute or two, once)", file=sys.stderr)
    mirror = sh("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()[0]
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        root = Path(scratch) / "root"
        sh("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root, mirror)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        sh("chroot", root, "apt-get", "clean")
        sh("chroot", root, "apt-get", "install", "--yes", "--download-only", "--no-install-recommends", *packages)
        debian_repository(root / "var/cache/apt/archives", archive.with_suffix(".debian"))
        shutil.rmtree(root / "var/lib/apt/lists")
        for stale in (root / "etc/machine-id", root / "etc/resolv.conf", root / "etc/apt/sources.list"):
            stale.unlink(missing_ok=True)
        for key_file in (root / "etc/ssh").glob("ssh_host_*"):
            key_file.unlink()
        part = archive.with_suffix(".part")
        sh("tar", "-C", root, "-cf", part, ".")
        part.replace(archive)


def debian_repository(downloaded: Path, target: Path) -> None:
    """Move downloaded packages into a directory that apt can install from."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for deb in downloaded.glob("*.deb"):
        shutil.move(deb, target / deb.name)
    listing = ["apt-ftparchive", "packages", "."]
    done = subprocess.run(listing, cwd=target, check=True, capture_output=True, text=True)
    (target / "Packages").write_text(done.stdout)


class Scenario:
    """The hosts of one scenario: their roots, keys and processes lie in one directory."""

    def __init__(self, name: str) -> None:
        """Name the scenario's directory; nothing is made yet."""
        self.name = name
        self.directory = WORK / name
        self.key = self.directory / "key"

    def create(self, archive: Path, hosts: dict[str, str]) -> None:
        """Make and boot hosts, by name and address."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.key.exists():
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        for name, address in hosts.items():
            self._unpack(archive, name, address)
            self.boot(name)
        for name, address in hosts.items():
            until(f"{name} answering on port 22", partial(_listens, address, 22), 300)

    def boot(self, name: str) -> None:
        """Switch a host on."""
        if self._pid(name):
            return
        log, root = (self.directory / f"{name}.log").open("ab"), self.directory / name
        process = subprocess.Popen(
            [
                "systemd-nspawn", f"--directory={root}", "--boot", "--register=no", "--keep-unit",
                f"--machine={name}", f"--network-bridge={BRIDGE}", "--console=pipe", "--capability=CAP_SYS_MODULE",
                f"--bind-ro={WORK / 'programs'}:/opt/stand-in", "--link-journal=no",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=partial(_enter_cgroup, f"aigw-{_short(str(root))}-{name}"),  # noqa: PLW1509 (no threads here)
        )  # fmt: skip
        (self.directory / f"{name}.pid").write_text(str(process.pid))

    def kill(self, name: str) -> None:
        """Pull the plug: every process of the host ends at once."""
        pid = self._pid(name)
        if pid:
            leader = sh("pgrep", "--parent", str(pid), check=False).split()
            victims = [*map(int, leader), pid]
            for victim in victims:
                _signal(victim, signal.SIGKILL)
            # The first process of a host ends after all others, and its wire after that: a new one has the same name.
            until(f"{name} ending", lambda: all(map(_ended, victims)), 120)
            until(f"{name}'s wire ending", lambda: f"vb-{name}" not in _interfaces(), 120)

    def remove(self, name: str) -> None:
        """End a host and remove its files."""
        self.kill(name)
        (self.directory / f"{name}.pid").unlink(missing_ok=True)
        shutil.rmtree(self.directory / name)

    def destroy(self) -> None:
        """End every host of the scenario and remove its files."""
        for record in self.directory.glob("*.pid"):
            self.kill(record.stem)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _unpack(self, archive: Path, name: str, address: str) -> None:
        root = self.directory / name
        if root.exists():
            return
        root.mkdir()
        sh("tar", "-C", root, "-xf", archive)
        (root / "etc/hostname").write_text(f"{name}\n")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
        (root / "etc/machine-id").write_text(os.urandom(16).hex() + "\n")
        (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self.key.with_suffix(".pub"), root / "root/.ssh/authorized_keys")
        (root / "etc/systemd/network/10-host0.network").write_text(
            f"[Match]\nName=host0\n[Network]\nAddress={address}/{PREFIX}\nGateway={GATEWAY}\n"
        )
        (root / "etc/systemd/system/owner-rule.service").write_text(OWNER_RULE)
        sh("systemctl", f"--root={root}", "enable", "owner-rule.service")
        _name_built_in_modules(root)
        sh("systemctl", f"--root={root}", "enable", "systemd-networkd.service")
        sh(
            "systemctl",
            f"--root={root}",
            "mask",
            "redis-server.service",
            "systemd-firstboot.service",
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
        )
        sh("ssh-keygen", "-A", "-f", root)
        public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        with (self.directory / "known_hosts").open("a") as known:
            known.write(f"{address} {public[0]} {public[1]}\n")

    def _pid(self, name: str) -> int:
        record = self.directory / f"{name}.pid"
        pid = int(record.read_text()) if record.exists() else 0
        command = Path(f"/proc/{pid}/cmdline")
        # A recorded id may belong to somebody else by now; an ended child of ours may still wait to be collected.
        try:
            return pid if pid and f"--machine={name}".encode() in command.read_bytes() else 0
        except OSError:
            return 0


def run(scenario: Scenario, archive: Path, command: list[str]) -> int:
    """Run a command in a fresh network namespace with the hosts' bridge, and end its hosts whatever happens."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        sys.exit("this machine cannot make a network namespace (root is needed), so no test hosts can be booted")
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "address", "add", f"{GATEWAY}/{PREFIX}", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")
    way_out = _way_out()
    _adopt_orphans()
    scenario.destroy()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = subprocess.run(command, check=False, env=os.environ | {"TEST_HOSTS_ARCHIVE": str(archive)}).returncode
    finally:
        if not os.environ.get("KEEP_HOSTS"):
            scenario.destroy()
            _end_descendants()
    asked = _asked_for(way_out)
    if asked:
        print(f"somebody asked for addresses outside the test network: {', '.join(asked)}", file=sys.stderr)
    return status or int(bool(asked))


def _adopt_orphans() -> None:
    # What a play leaves behind when it is cut short becomes a child of this process.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("this machine does not let a process adopt its orphans (prctl PR_SET_CHILD_SUBREAPER)")


def _end_descendants() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := [int(pid) for pid in children.read_text().split()]:
        for pid in pids:
            _signal(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _way_out() -> socket.socket:
    """Make the default route, and return what sees all that is sent along it."""
    sh("ip", "link", "add", WIRE[0], "type", "veth", "peer", "name", WIRE[1])
    # Without ARP everything is sent at once, though nobody is there.
    sh("ip", "link", "set", WIRE[0], "arp", "off", "up")
    sh("ip", "link", "set", WIRE[1], "up")
    sh("ip", "route", "add", "default", "dev", WIRE[0])
    sh("sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1")
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    sniffer.bind((WIRE[1], ETH_P_IP))
    sniffer.setblocking(False)
    return sniffer


def _asked_for(sniffer: socket.socket) -> list[str]:
    """Sender and target of the packets that went out, each pair once."""
    pairs = set()
    with contextlib.suppress(BlockingIOError):
        while packet := sniffer.recv(2048):
            pairs.add(f"{socket.inet_ntoa(packet[12:16])} -> {socket.inet_ntoa(packet[16:20])}")
    return sorted(pairs)


def _name_built_in_modules(root: Path) -> None:
    # A host sees this machine's kernel, but not the files that say what is built into it.
    files = {
        "kernel/fs/overlayfs/overlay.ko": "overlay" in Path("/proc/filesystems").read_text(),
        "kernel/net/bridge/br_netfilter.ko": Path("/proc/sys/net/bridge").exists(),
        "kernel/net/netfilter/nf_conntrack.ko": Path("/proc/sys/net/netfilter").exists(),
    }
    release = os.uname().release
    modules = root / "lib/modules" / release
    modules.mkdir(parents=True)
    (modules / "modules.builtin").write_text("".join(f"{file}\n" for file, there in files.items() if there))
    for listing in ("modules.order", "modules.builtin.modinfo"):
        (modules / listing).touch()
    sh("chroot", root, "/sbin/depmod", release)


def _enter_cgroup(name: str) -> None:
    # Each host's systemd manages the group it is started in: two in one would manage each other's services.
    for hierarchy in (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (hierarchy / "cgroup.procs").exists():
            group = hierarchy / name
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text("0")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def _ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main() -> int:
    """Dispatch the command line above."""
    action, *arguments = sys.argv[1:]
    if action == "image":
        print(image(Path(arguments[0])))
        return 0
    scenario = Scenario(arguments[0])
    if action == "run":
        return run(scenario, Path(arguments[1]), arguments[3:])
    if action == "create":
        archive = Path(os.environ["TEST_HOSTS_ARCHIVE"])
        scenario.create(archive, dict(argument.split("=", 1) for argument in arguments[1:]))
    elif action == "destroy":
        scenario.destroy()
    else:
        for name in arguments[1:]:
            {"kill": scenario.kill, "boot": scenario.boot, "remove": scenario.remove}[action](name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
