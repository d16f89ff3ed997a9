/* The shim and the simulated driver on one virtual clock. */
#ifndef VGPU_TESTS_VIRTUAL_H
#define VGPU_TESTS_VIRTUAL_H

#include <stdint.h>

#define MS 1000000ull
#define SECOND (1000 * MS)

/* Installs the clock in this process; starts virtual time for that many participants. */
void virtual_time(unsigned participants);
/* Installs the clock that another process started. */
void virtual_time_joined(unsigned id);
void virtual_time_left(void);
uint64_t virtual_now(void);
void virtual_sleep(uint64_t ns);

/* A function's answer from a process of its own; below zero: it failed. */
double in_child(double (*run)(void *), void *argument);
/* Whether a share is what it should be; says so when not. */
int near(double found, double wanted, double tolerance, const char *what);

#endif
