"""Machines for other people's mail servers, without installing any: one network that is only ours, with the real ports, and
for each server a file system of its own, in which its unpacked package and its configuration lie over the system's files.

    with Network("192.0.2.1"):               this thread and what it starts sees loopback and 192.0.2.0/24, nothing else
        m = Machine(path, "postfix", package, files={"/etc/postfix/main.cf": text})
        m.start(["/usr/lib/postfix/sbin/master", "-d"])
        m.stop()                             and whatever it started is gone, too

m.dir is the one folder that both sides see, there as SHARED; all else that a machine writes is forgotten.  Needs root and
namespaces: `why_not()` says what is missing.
"""
import ctypes
import fcntl
import functools
import os
import signal
import socket
import struct
import subprocess

CLONE_NEWNET, PR_SET_PDEATHSIG = 0x40000000, 1
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8913, 0x8914, 0x8916, 1
SHARED = "/srv/shared"
libc = ctypes.CDLL(None, use_errno=True)

# $1 the folder where it is put together, $2 the package, $3 the machine's own files, $4 the shared folder, $5 where it is seen, then
# the command.  An overlay's layers may not contain each other, so the first two are copied into its memory.  The shell stays as the first process
# of its namespace: with it all others end.
ASSEMBLE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
chmod 755 "$1" "$1/upper"
[ -z "$2" ] || cp -a "$2/." "$1/upper"
cp -a "$3/." "$1/upper"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mkdir -p "$1/root$5"
mount --bind "$4" "$1/root$5"
root=$1/root; shift 5
chroot "$root" "$@"
exit $?
"""


@functools.cache
def why_not():
    """Why there are no machines here; None when there are."""
    if os.geteuid() != 0:
        return "needs root"
    tried = subprocess.run(["unshare", "-m", "-n", "-p", "-f", "sh", "-ec",
                            "mount --make-rprivate /; mount -t tmpfs t /mnt; mkdir /mnt/u /mnt/w; "
                            "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"needs namespaces and overlays: {tried.stderr.strip()}"


def called(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Network:
    """The whole /24 around an address is here, and anybody may listen at any address of it; but only this one is an interface's,
    so that a server takes the others for other machines' (as with 127.0.0.0/8)."""

    def __init__(self, address):
        self.address = address

    def __enter__(self):
        self.outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        called(libc.unshare(CLONE_NEWNET))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            flags = struct.unpack_from("16sh", fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0)))[1]
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
            fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16sHH4s16x", b"lo:0", socket.AF_INET, 0, socket.inet_aton(self.address)))
        return self

    def __exit__(self, *error):
        called(libc.setns(self.outside, CLONE_NEWNET))
        os.close(self.outside)


class Machine:
    def __init__(self, path, name, package, files=None, users=()):
        self.name, self.package, self.process = name, package, None
        self.dir = os.path.join(str(path), name)
        self.log = os.path.join(self.dir, "out")
        self.layer = os.path.join(str(path), name + "-files")
        self.mount = os.path.join(str(path), name + "-root")
        for folder in self.dir, self.layer, self.mount:
            os.makedirs(folder)
        self.add({"/etc/passwd": open("/etc/passwd").read(), "/etc/group": open("/etc/group").read(),
                  "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
                  "/etc/hosts": "127.0.0.1 localhost\n", "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"})
        self.users = {user: 64200 + i for i, user in enumerate(users)}
        for user, number in self.users.items():
            self.add_user(user, number)
        self.add(files or {})

    def add(self, files):
        for name, text in files.items():
            os.makedirs(os.path.dirname(self.layer + name), exist_ok=True)
            with open(self.layer + name, "w", encoding="utf-8") as f:
                f.write(text)

    def add_user(self, name, number):
        """A user and a group of this machine alone; the system's of that name is not seen on it."""
        for file, line in ("/etc/passwd", f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"), ("/etc/group", f"{name}:x:{number}:\n"):
            text = "".join(one for one in open(self.layer + file, encoding="utf-8").readlines() if not one.startswith(name + ":"))
            self.add({file: text + line})

    def folder(self, name, owner=0, mode=0o755):
        """Makes a folder below the shared one; its owner is a number: of root, or of one of the users."""
        path = os.path.join(self.dir, name)
        os.makedirs(path)
        os.chmod(path, mode)
        os.chown(path, owner, owner)
        return path

    def start(self, command, env=None):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", ASSEMBLE, "machine",
                 self.mount, self.package or "", self.layer, self.dir, SHARED, *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **(env or {})},
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
