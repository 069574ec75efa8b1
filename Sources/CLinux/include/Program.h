// A flat list of system calls which a fresh child of clone3(CLONE_VM) makes before it executes a program.
// The child runs nothing else: no libc, no Swift, no thread-local storage (it shares its parent's).
#pragma once

#include <stddef.h>
#include <stdint.h>

// What `values[n]` is.
enum { CLINUX_LITERAL = 0, CLINUX_DATA = 1, CLINUX_REGISTER = 2 };

// Instead of a system call: the result is the first argument.
#define CLINUX_LOAD 0xffff
#define CLINUX_NO_REGISTER 0xff

// 40 bytes: what a start touches is what it costs (a first page touch is 2.7 ms on an emulated ring 0).
struct clinux_instruction {
    int32_t values[6];
    uint16_t kinds;              // two bits an argument, lowest first
    uint16_t number;             // system call or CLINUX_LOAD
    uint16_t stage;              // reported when it fails
    uint8_t result;              // register that takes the result, or CLINUX_NO_REGISTER
    uint8_t minimum;             // a result below this is a failure (ENODATA): reads that must bring something
    uint8_t tolerated[4];        // errno values that are no failure; 0 ends the list
    uint16_t skip_on_success;    // instructions to leave out after success
    uint16_t skip_on_tolerated;  // ... and after a tolerated failure
};

struct clinux_program {
    const struct clinux_instruction *instructions;
    uint64_t count;
    uint8_t *data;
    int64_t *registers;
    // Written by the child: the stage it is in, and the errno that ended it (0: none).
    volatile uint32_t stage;
    volatile uint32_t error;
};

// Runs the program, then leaves with status 0 (1 after a failure). Never returns.
void clinux_program_run(struct clinux_program *program);

// clone3 into `clinux_program_run(program)` on the stack of `arguments` (a struct clone_args of `size` bytes):
// the child's pid, or -errno.
long clinux_program_spawn(void *arguments, size_t size, struct clinux_program *program);
