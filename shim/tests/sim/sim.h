/* Control of the simulated CUDA driver: what tests and demos may set and read.
 *
 * Exported by the simulated libcuda.so.1 and, as far as it says [both], by the
 * simulated libnvidia-ml.so.1. Nothing of the CUDA or NVML interface is here.
 *
 * ENVIRONMENT
 *   VGPU_SIM_CONFIG   file of "name value" lines (options.def) and of devices:
 *                       model TEXT | memory 80G | sms 132          every device
 *                       device I model TEXT | memory 40G | sms 108 | uuid GPU-... | numa N
 *                       link I J LINKS                             NVLinks between I and J
 *                     read once, by the process that creates the state
 *   VGPU_SIM_STATE    shared state, a file; the same path = the same machine.
 *                     Default: /dev/shm/vgpu-sim.UID
 *   VGPU_SIM_MINIMAL  1: least work, for measuring costs (below)
 *   VGPU_SIM_TRACE    file; every call is appended as a line "pid symbol route args..."
 *   VGPU_SIM_FAIL     "symbol:nth:result[,...]": as sim_fail()
 *
 * KERNELS  A kernel has a duration and a share of the GPU. Duration, in this order:
 * sim_kernel_duration(); a name that starts with "spin": its first parameter, a
 * uint64_t of nanoseconds; a name that ends in a number and ns, us or ms
 * ("matmul_250us"); the option kernel_ns. Share: blocks / multiprocessors, at
 * most 1; cooperative kernels and graphs take the whole GPU. Kernels of different
 * streams run side by side while their shares add up to at most 1.
 * cuModuleGetFunction gives a function of any name, from any module image.
 *
 * TENANTS  Processes share a GPU by time slices. For tests with one process, each
 * thread may call sim_tenant(n): contexts created afterwards by it belong to
 * tenant n and are sliced, accounted and listed as a process of their own would be.
 *
 * TIME  The real clock is CLOCK_MONOTONIC. After sim_clock_virtual(n), time stands
 * still unless someone sleeps. Each of the n participants (threads, or processes on
 * the same state) calls sim_clock_join(id) with ids 0..n-1, waits in it for the
 * others, and from then on exactly one of them runs at a time, the one with the
 * earliest wake-up (lowest id first): runs are deterministic. A participant gives way
 * only in sim_sleep_until() and in driver calls that wait. With n = 0 nobody joins,
 * and a sleep just advances the clock: enough for one thread. Install sim_now and
 * sim_sleep_until as the clock of the code under test. A participant that ends
 * calls sim_clock_leave(); one that was killed is noticed within a second.
 *
 * MINIMAL WORK  With VGPU_SIM_MINIMAL=1 (or sim_minimal(1) before cuInit) allocations,
 * frees, launches, events and cuMemGetInfo do nothing but answer: no lock, no system
 * call, no accounts, nothing recorded. Everything else works as ever.
 *
 * CRASHES  A killed process's memory, contexts and pending work are gone as soon as
 * anyone looks (with thousands of processes, within three times what a look takes).
 * A child of fork() has nothing of its parent's; after the parent's cuInit it may not
 * use the driver, unless the option fork_reinit lets it call cuInit again.
 *
 * NOT SIMULATED  Rows marked ABSENT in entries.def answer CUDA_ERROR_NOT_SUPPORTED.
 * The CUDA runtime library does its 440 lookups and then refuses to go on: it wants
 * undocumented tables. Copies are done at once; a stream-ordered free likewise; a host
 * function runs in its caller, when the stream has got there.
 */
#ifndef VGPU_SIM_H
#define VGPU_SIM_H

#include <stdint.h>

#include "cuda_abi.h"

#define SIM_MAX_ARGS 12

#pragma GCC visibility push(default)

/* ---- options [both] ---- */
int sim_set(const char *option, uint64_t value); /* 0, or -1: no such option */
uint64_t sim_get(const char *option);
void sim_minimal(int on); /* libcuda only */

/* ---- time [both] ---- */
uint64_t sim_now(void); /* ns */
void sim_sleep_until(uint64_t ns);
void sim_clock_virtual(unsigned participants);
void sim_clock_real(void);
void sim_clock_advance(uint64_t ns); /* virtual, n = 0 only */
int sim_clock_join(unsigned id);     /* 0, or -1: not virtual or id out of range */
void sim_clock_leave(void);

/* ---- kernels and tenants ---- */
void sim_kernel_duration(CUfunction function, uint64_t ns);
void sim_tenant(unsigned tenant);

/* ---- accounts [both]: pid 0 = this process, all its tenants ---- */
uint64_t sim_memory_used(int device, int pid);   /* physical bytes, with contexts */
uint64_t sim_device_memory_used(int device);     /* physical bytes, all processes + reserved */
uint64_t sim_busy_ns(int device, int pid);       /* exact GPU time in which it ran something */
uint64_t sim_tenant_busy_ns(int device, int pid, unsigned tenant);
uint64_t sim_device_busy_ns(int device);
uint64_t sim_pending(int device, int pid);       /* queued and running items */
unsigned sim_processes(int device);              /* with a context */

/* ---- what was called: this process, in order; off until switched on ---- */
struct sim_call {
  const char *symbol; /* the exact export, e.g. "cuMemAllocAsync_ptsz" */
  int route;          /* 'd': the exported symbol; 'p': an address from cuGetProcAddress */
  unsigned argc;
  uint64_t args[SIM_MAX_ARGS]; /* raw argument words; 32-bit arguments in the low half */
  uint64_t stream;             /* the stream as passed; 0 where there is none */
  uint64_t thread;
};

void sim_record(int on);        /* switching on forgets what was recorded */
unsigned sim_calls(void);       /* the newest 65536 are kept */
int sim_call(unsigned index, struct sim_call *out); /* 0, or -1: no such call */
unsigned sim_count(const char *symbol);             /* recorded calls of one export, any route */

/* ---- faults ---- */
/* The nth next call of `symbol` (1 = the very next) in this process returns `result`
 * without doing anything; nth 0: every call. result 0 clears. -1: no such symbol. */
int sim_fail(const char *symbol, unsigned nth, int result);
/* The nth next physical allocation of any kind in this process finds no memory. */
void sim_fail_allocation(unsigned nth);
void sim_xid(int device, uint64_t code); /* [both] raises an Xid event for NVML's event sets */

#pragma GCC visibility pop

#endif
