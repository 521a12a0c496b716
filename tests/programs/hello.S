# A static x86-64 program that prints TEXT and succeeds. Small, because emulated machines hash it, and real:
# the kernel runs it and rpm packages it like any other. Build: cc -nostdlib -static -Wl,--build-id -DTEXT='"…"'
        .globl _start
        .section .rodata
text:   .ascii TEXT
        .ascii "\n"
        .set length, . - text

        .text
_start: mov     $1, %eax                # write
        mov     $1, %edi                # to standard output
        lea     text(%rip), %rsi
        mov     $length, %edx
        syscall
        mov     $60, %eax               # exit
        xor     %edi, %edi              # with 0
        syscall

        .section .note.GNU-stack, "", @progbits
