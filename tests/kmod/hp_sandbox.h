// SPDX-License-Identifier: MIT OR Apache-2.0
/* Becomes uid 1001 and a sandboxed process; `between` is called between the steps. Not 0: something failed. */
int sandboxed(void (*between)(void));
