# A boot sector: into 64-bit mode, over one instruction with a VEX prefix where the CPU has it, and off.
#
# KVM runs guests in steps that the CPU takes by itself, and emulates those that it cannot take. On a host whose own CPU is half
# virtual it may emulate too much: it then stops at the first instruction that its emulator does not know, which in a kernel
# comes early. The segments are null as a kernel's are.

.code16
.globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss

    # Page tables at 0x1000 to 0x3fff: the first 2 MiB, as they are.
    mov $0x1000, %edi
    mov %edi, %cr3
    xor %eax, %eax
    mov $0xc00, %cx
    rep stosl
    movw $0x2003, 0x1000
    movw $0x3003, 0x2000
    movw $0x0083, 0x3000

    # CR4.PAE, EFER.LME, CR0.PG and CR0.PE: long mode.
    mov %cr4, %eax
    or $0x20, %al
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x01, %ah
    wrmsr
    lgdt gdtr
    mov %cr0, %eax
    or $0x80000001, %eax
    mov %eax, %cr0
    ljmp $8, $long

.code64
long:
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss

    # CPUID leaf 7, EBX bit 8: BMI2.
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    bt $8, %ebx
    jnc off
    xor %r8d, %r8d
    shlx %rdx, %r8, %r8

    # SeaBIOS puts the ACPI registers of both of QEMU's chipsets at 0x600; bit 13 of the control register at 0x604 sleeps, and
    # type 0 is soft-off.
off:
    mov $0x604, %edx
    mov $0x2000, %eax
    out %ax, %dx
halt:
    hlt
    jmp halt

.align 8
gdt:
    .quad 0
    .quad 0x00209a0000000000
gdtr:
    .word gdtr - gdt - 1
    .long gdt

.org 510
.byte 0x55, 0xaa
