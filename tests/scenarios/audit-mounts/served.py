"""File systems and a name service whose servers never answer. Each says on its log what it was asked for."""

import ctypes
import os
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind, data):
    if libc.mount(source.encode(), target.encode(), kind.encode(), 0, data.encode()) != 0:
        sys.exit(f"mount {target}: {os.strerror(ctypes.get_errno())}")


def autofs(target, log):
    # A group of its own: what this process itself looks up would not be a trigger.
    os.setpgrp()
    asks, told = os.pipe()
    mount("automounter", target, "autofs", f"fd={told},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect")
    log("ready")
    while packet := os.read(asks, 4096):
        name_at = 44
        log("asked to mount " + repr(packet[name_at:].split(b"\0")[0]))


def fuse(target, log):
    device = os.open("/dev/fuse", os.O_RDWR)
    mount("silent", target, "fuse", f"fd={device},rootmode=40000,user_id=0,group_id=0")
    log("ready")
    while request := os.read(device, 1 << 17):
        _, opcode, unique = struct.unpack_from("<IIQ", request)
        if opcode == 26:  # FUSE_INIT: from here on requests count as taken, and whoever waits cannot even be killed.
            body = struct.pack("<IIIIHHII", 7, 31, 0, 0, 8, 8, 4096, 1) + bytes(36)
            os.write(device, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)
        else:
            log(f"opcode {opcode}")


def sss(target, log):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(target)
    os.chmod(target, 0o666)
    listener.listen(8)
    log("ready")
    taken = []
    while True:
        taken.append(listener.accept())
        log("connected")


what, target, path = sys.argv[1:]
log_file = open(path, "a", buffering=1)
{"autofs": autofs, "fuse": fuse, "sss": sss}[what](target, lambda line: print(line, file=log_file))
