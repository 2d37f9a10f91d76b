"""The package sets: the packages, and the base image to install them on."""

from __future__ import annotations

from dataclasses import dataclass

# The programs that look at the result, beside find and stat: every set gets those that it lacks.
LOOKING = ("acl", "libcap2-bin")
# The program that --force=fakeroot installs.
EMULATING = "fakeroot"
REPOSITORY = "/aptrepo"


@dataclass(frozen=True)
class PackageSet:
    """Packages, and the commands that install them, in order.

    ``archives`` are Debian packages that the image must hold, with their dependencies, so that the
    installs need no network and see the same packages.
    """

    name: str
    base: str
    commands: tuple[str, ...]
    archives: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        """Return the commands as one line of shell that stops at the first failure."""
        return " && ".join(self.commands)


def debian(name: str, *packages: str, base: str = "debian") -> PackageSet:
    """Return a set of Debian packages."""
    wanted = (*LOOKING, *packages)
    install = f"apt-get -y --no-install-recommends install {' '.join(wanted)}"
    commands = (
        "export DEBIAN_FRONTEND=noninteractive",
        "apt-get -qq update",
        f"{install} >/dev/null",
    )
    return PackageSet(name, base, commands, (*wanted, EMULATING))


PRIVILEGED = (
    "openssh openssh-clients openssh-server"
    " priv-owner priv-hard priv-post priv-su priv-sysusers priv-caps priv-dev"
)
DNF = PackageSet("RPM, dnf", "rpm", (f"dnf -y -q install {PRIVILEGED}",))
ZYPPER = PackageSet(
    "RPM, zypper",
    "rpm",
    (f"zypper --quiet --non-interactive install {PRIVILEGED}",),
)
ALPINE = PackageSet("Alpine, apk", "alpine", ("apk add --allow-untrusted ownership-demo",))
PACMAN = PackageSet("pacman", "pacman", ("pacman --noconfirm -Sy privileged",))

# Small enough for `make test`.
QUICK = (
    debian("Debian, a few", "dbus", "exim4-daemon-light", "iputils-ping", "openssh-server", "sudo"),
    DNF,
    ZYPPER,
    ALPINE,
)

SETS = (
    debian("Debian, databases", "openssh-server", "postgresql"),
    debian(
        "Debian, system",
        *("cron", "dbus", "exim4", "man-db", "munge", "rsync", "sudo", "systemd"),
        "wireshark-common",
    ),
    debian(
        "Debian, 32-bit programs",
        *("cron", "dbus", "exim4-daemon-light", "iputils-ping", "man-db", "openssh-server"),
        *("postgresql", "sudo", "systemd", "wireshark-common"),
        base="debian-i386",
    ),
    DNF,
    ZYPPER,
    ALPINE,
    PACMAN,
)

# Daemons among the most installed packages of popcon.debian.org.
MORE = (
    debian("Debian, slurmd", "slurmctld", "slurmd"),
    debian("Debian, mariadb-server", "mariadb-server"),
    debian("Debian, rabbitmq-server", "rabbitmq-server"),
    debian(
        "Debian, desktop",
        *("avahi-daemon", "colord", "cups", "network-manager", "polkitd", "rtkit", "udisks2"),
    ),
    debian(
        "Debian, mail and web",
        *("apache2", "dovecot-core", "memcached", "nginx-light", "postfix", "redis-server"),
        "squid",
    ),
    debian(
        "Debian, network",
        *("bind9", "chrony", "dnsmasq", "fail2ban", "nfs-kernel-server", "nslcd", "samba"),
        *("snmpd", "tor", "unbound", "vsftpd"),
    ),
)

# 60 further packages that many Debian machines have: what the installer puts on each machine, what
# it puts on desktops and laptops, and what administrators add.
FURTHER = (
    debian(
        "Debian, standard system",
        *("apt-listchanges", "bash-completion", "bind9-dnsutils", "busybox", "ca-certificates"),
        *("console-setup", "dictionaries-common", "dmidecode", "gnupg", "ifupdown"),
        *("initramfs-tools", "iptables", "kmod", "locales", "logrotate", "nano", "perl", "python3"),
        *("reportbug", "rsyslog", "tasksel", "unattended-upgrades", "vim-tiny", "wamerican"),
    ),
    debian(
        "Debian, workstation",
        *("accountsservice", "bluez", "dconf-service", "fontconfig", "fuse3", "geoclue-2.0"),
        *("lightdm", "modemmanager", "pinentry-curses", "plymouth", "ppp", "pulseaudio"),
        *("sane-utils", "shared-mime-info", "upower", "wpasupplicant", "x11-common", "xauth"),
        "xserver-xorg-legacy",
    ),
    debian(
        "Debian, administration",
        *("at", "debsums", "emacs-nox", "git", "lvm2", "mdadm", "ntpsec", "plocate"),
        *("popularity-contest", "procmail", "screen", "smartmontools", "ssl-cert", "sysstat"),
        *("tcpdump", "tmux", "usbutils"),
    ),
)
