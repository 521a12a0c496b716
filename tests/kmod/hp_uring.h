// SPDX-License-Identifier: MIT OR Apache-2.0
/* Becomes uid 1001 and has io_uring act as root all the same; `between` is called between the steps. Not 0: something failed. */
int uring_overrides(void (*between)(void));
