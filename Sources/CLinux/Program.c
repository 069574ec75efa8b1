#include "CLinux.h"

static long argument(const struct clinux_program *program, const struct clinux_instruction *instruction, int index) {
    int32_t value = instruction->values[index];
    switch (instruction->kinds >> (2 * index) & 3) {
    case CLINUX_DATA: return (long)(program->data + value);
    case CLINUX_REGISTER: return program->registers[value];
    default: return value;
    }
}

static int tolerates(const struct clinux_instruction *instruction, long error) {
    for (int i = 0; i < 4; i++)
        if (instruction->tolerated[i] == error) return 1;
    return 0;
}

void clinux_program_run(struct clinux_program *program) {
    for (uint64_t next = 0; next < program->count;) {
        const struct clinux_instruction *instruction = &program->instructions[next++];
        program->stage = instruction->stage;
        long a = argument(program, instruction, 0);
        long result = a;
        if (instruction->number != CLINUX_LOAD)
            result = clinux_syscall(instruction->number, a, argument(program, instruction, 1), argument(program, instruction, 2),
                                    argument(program, instruction, 3), argument(program, instruction, 4),
                                    argument(program, instruction, 5));
        if (instruction->result != CLINUX_NO_REGISTER) program->registers[instruction->result] = result;

        long error = result < 0 && result >= -4095 ? -result : result >= 0 && result < instruction->minimum ? ENODATA : 0;
        if (error == 0) {
            next += instruction->skip_on_success;
        } else if (tolerates(instruction, error)) {
            next += instruction->skip_on_tolerated;
        } else {
            program->error = (uint32_t)error;
            break;
        }
    }
    while (1) clinux_syscall(SYS_exit_group, program->error != 0, 0, 0, 0, 0, 0);
}

long clinux_program_spawn(void *arguments, size_t size, struct clinux_program *program) {
    // The child comes back from the system call with these registers and an empty stack.
    register void (*entry)(struct clinux_program *) __asm__("r12") = clinux_program_run;
    register struct clinux_program *argument __asm__("r13") = program;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %[argument], %%rdi\n\t"
                     "call *%[entry]\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)SYS_clone3), "D"(arguments), "S"(size), [entry] "r"(entry), [argument] "r"(argument)
                     : "rcx", "r11", "memory");
    return result;
}
