"""The names that Sundog takes from private modules of CPython: no page of Python documents them.

Most are the half in C of a public module, whose half in Python takes up to 3 ms to import: as long
as a whole start of ``ch-run``.  An import from here loads the one private module that has the name.
In the joined modules it is an import from that module.  ``sundog/start.py`` and ``packaging/start``
alone import such modules themselves: they run before anything of ours is imported.
"""

from __future__ import annotations

# The private modules, and their names that we use.
NAMES = {
    "_blake2": "blake2b",  # hashlib loads OpenSSL
    "_ctypes": "Array CFuncPtr FUNCFLAG_CDECL FUNCFLAG_PYTHONAPI FUNCFLAG_USE_ERRNO _SimpleCData"
    " addressof byref dlopen dlsym get_errno sizeof",
    "_frozen_importlib": "ModuleSpec",
    "_imp": "create_dynamic exec_dynamic extension_suffixes source_hash",  # no public one has them
    "_json": "encode_basestring_ascii make_scanner",  # json loads re
    "_lzma": "LZMADecompressor",  # lzma loads bz2's modules
    "_signal": "SIGCHLD SIGCONT SIGHUP SIGINT SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTERM SIGTSTP"
    " SIGPROF SIGTTIN SIGTTOU SIGURG SIGVTALRM SIGWINCH SIGXFSZ SIG_BLOCK SIG_DFL SIG_IGN"
    " SIG_SETMASK SIG_UNBLOCK"
    " alarm default_int_handler getsignal pidfd_send_signal pthread_sigmask set_wakeup_fd signal"
    " sigtimedwait sigwaitinfo valid_signals",  # signal loads enum
    "_socket": "AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL MSG_PEEK SCM_RIGHTS SOCK_CLOEXEC SOCK_DGRAM"
    " SOCK_SEQPACKET SOCK_STREAM SOL_SOCKET SO_ACCEPTCONN SO_BROADCAST SO_DOMAIN SO_KEEPALIVE"
    " SO_LINGER SO_OOBINLINE SO_PEERCRED SO_PRIORITY SO_PROTOCOL SO_RCVBUF SO_RCVTIMEO SO_REUSEADDR"
    " SO_REUSEPORT SO_SNDBUF SO_SNDTIMEO SO_TYPE inet_ntop socket socketpair",  # socket, too
    "_struct": "Struct pack_into unpack",
    "_thread": "RLock allocate_lock get_ident start_new_thread",  # threading loads collections
    "_zstd": "ZstdDecompressor",  # from Python 3.14 on
}

TYPE_CHECKING = False
if TYPE_CHECKING:  # ``signal`` has the types of ``_signal``
    from _blake2 import *
    from _ctypes import *
    from _ctypes import _SimpleCData as _SimpleCData
    from _imp import *
    from _json import *
    from _lzma import *
    from _socket import *
    from _struct import *
    from _thread import RLock as RLock
    from _thread import allocate_lock as allocate_lock
    from _thread import get_ident as get_ident
    from _thread import start_new_thread as start_new_thread
    from importlib.machinery import ModuleSpec as ModuleSpec
    from signal import *
    from typing import Any

    ZstdDecompressor: Any
else:

    def __getattr__(name: str) -> object:
        for module, names in NAMES.items():
            if name in names.split():
                return getattr(__import__(module), name)
        raise AttributeError(name)
