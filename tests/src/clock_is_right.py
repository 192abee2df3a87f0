"""Tells the kernel that this machine's clock is right, as a client of NTP does, unless something has told it already.

A machine that is booted for a test has the kernel's clock. Where nothing corrects that, `pawl doctor` rightly finds a
fault, and `pawl maintain run` makes nothing final.
"""

import ctypes
import os
import sys

# The kernel adds 500 microseconds each second, and from 16 seconds on counts the clock as unsynchronised. A client of NTP
# starts it again every few minutes; what has grown to this was told long ago, and could end in the middle of a run.
RENEWED_FROM_US = 1_000_000
UNSYNCHRONISED_FROM_US = 16_000_000
STA_UNSYNC = 0x0040
ADJ_MAXERROR, ADJ_STATUS = 0x0004, 0x0010


class Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2) on 64 bits, as far as it is used here."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    ]


def adjtimex(**values):
    state = Timex(**values)
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state)) == -1:
        sys.exit(
            f"the kernel says that this machine's clock follows no other (error {ctypes.get_errno()} of adjtimex), and the "
            "tests expect one that does: enable NTP, or run tests/src/clock_is_right.py as root"
        )
    return state


found = adjtimex()
is_right = found.maxerror < UNSYNCHRONISED_FROM_US and not found.status & STA_UNSYNC
if found.maxerror >= RENEWED_FROM_US and not (is_right and os.geteuid() != 0):
    adjtimex(modes=ADJ_MAXERROR | ADJ_STATUS, maxerror=1000, status=0)
