/* Who uses a device: process lists, per-process utilisation as NVML samples it, accounting. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "nvml.h"

enum { TENANT_SHIFT = 22 }; /* beyond the largest PID: tenants of one process are listed apart */

static bool uses(const struct sim_slot *slot, int device) { return slot->used && slot->contexts[device] > 0; }

static unsigned reported_pid(const struct sim_slot *slot) {
  return (unsigned)slot->pid + (slot->tenant << TENANT_SHIFT) +
         (unsigned)option_value(nvml_state, OPTION_nvml_pid_offset);
}

static unsigned count_processes(int device) {
  unsigned count = 0;
  for (uint32_t i = 0; i < nvml_state->slots_high; i++) count += uses(&nvml_state->slots[i], device);
  return count;
}

/* ---- process lists --------------------------------------------------------------------- */

static void write_process(unsigned place, void *out, bool old, const struct sim_slot *slot, int device) {
  if (old)
    ((nvmlProcessInfo_v1_t *)out)[place] = (nvmlProcessInfo_v1_t){reported_pid(slot), slot->memory[device]};
  else
    ((nvmlProcessInfo_t *)out)[place] = (nvmlProcessInfo_t){reported_pid(slot), slot->memory[device],
                                                            NVML_INSTANCE_NOT_AVAILABLE, NVML_INSTANCE_NOT_AVAILABLE};
}

static nvmlReturn_t write_processes(int device, unsigned *count, void *out, bool old) {
  unsigned room = *count, found = count_processes(device);
  *count = found;
  if (found > room || (found > 0 && out == NULL)) return NVML_ERROR_INSUFFICIENT_SIZE;
  unsigned place = 0;
  for (uint32_t i = 0; i < nvml_state->slots_high; i++)
    if (uses(&nvml_state->slots[i], device)) write_process(place++, out, old, &nvml_state->slots[i], device);
  return NVML_SUCCESS;
}

static nvmlReturn_t compute_processes(nvmlDevice_t handle, unsigned *count, void *out, bool old) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  nvmlReturn_t forced = (nvmlReturn_t)option_value(nvml_state, OPTION_nvml_processes_result);
  if (count == NULL)
    result = NVML_ERROR_INVALID_ARGUMENT;
  else
    result = forced != NVML_SUCCESS ? forced : write_processes(device, count, out, old);
  nvml_leave();
  return result;
}

/* No process here draws or is an MPS client. */
static nvmlReturn_t no_processes(nvmlDevice_t handle, unsigned *count) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  nvml_leave();
  if (count == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *count = 0;
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_v1_t *out) {
  return compute_processes(handle, count, out, true);
}
nvmlReturn_t sim_nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_t *out) {
  return compute_processes(handle, count, out, false);
}
nvmlReturn_t sim_nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_t *out) {
  return compute_processes(handle, count, out, false);
}
nvmlReturn_t sim_nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_v1_t *out) {
  (void)out;
  return no_processes(handle, count);
}
nvmlReturn_t sim_nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_t *out) {
  (void)out;
  return no_processes(handle, count);
}
nvmlReturn_t sim_nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_t *out) {
  (void)out;
  return no_processes(handle, count);
}
nvmlReturn_t sim_nvmlDeviceGetMPSComputeRunningProcesses(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_v1_t *out) {
  (void)out;
  return no_processes(handle, count);
}
nvmlReturn_t sim_nvmlDeviceGetMPSComputeRunningProcesses_v2(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_t *out) {
  (void)out;
  return no_processes(handle, count);
}
nvmlReturn_t sim_nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned *count, nvmlProcessInfo_t *out) {
  (void)out;
  return no_processes(handle, count);
}

nvmlReturn_t sim_nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t handle, nvmlProcessDetailList_v1_t *list) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  unsigned place = 0, found = list->mode == 0 ? count_processes(device) : 0, room = list->numProcArrayEntries;
  list->numProcArrayEntries = found;
  bool fits = found == 0 || (found <= room && list->procArray != NULL);
  for (uint32_t i = 0; fits && found > 0 && i < nvml_state->slots_high; i++) {
    struct sim_slot *slot = &nvml_state->slots[i];
    if (uses(slot, device))
      list->procArray[place++] = (nvmlProcessDetail_v1_t){reported_pid(slot), slot->memory[device], NVML_INSTANCE_NOT_AVAILABLE,
                                                          NVML_INSTANCE_NOT_AVAILABLE, NVML_VALUE_NOT_AVAILABLE_ULL};
  }
  nvml_leave();
  return fits ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

nvmlReturn_t sim_nvmlSystemGetProcessName(unsigned pid, char *out, unsigned length) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%u/comm", pid);
  FILE *file = fopen(path, "re");
  if (file == NULL) return NVML_ERROR_NOT_FOUND;
  bool read = fgets(out, (int)length, file) != NULL;
  fclose(file);
  if (read) out[strcspn(out, "\n")] = '\0';
  return read ? NVML_SUCCESS : NVML_ERROR_UNKNOWN;
}

/* ---- utilisation -------------------------------------------------------------------------- */

/* Microseconds since the epoch; in virtual time since its beginning. */
static uint64_t timestamp(uint64_t ns) {
  if (nvml_state->clock.virtual_mode) return ns / 1000;
  struct timespec real;
  clock_gettime(CLOCK_REALTIME, &real);
  uint64_t epoch = (uint64_t)real.tv_sec * 1000000000U + (uint64_t)real.tv_nsec;
  return (epoch - clock_now(nvml_state) + ns) / 1000;
}

struct usage { unsigned pid, percent; uint64_t timestamp; };

/* The next channel from *c on that was busy lately; false: no more. */
static bool next_usage(int device, uint64_t since, uint32_t *c, struct usage *usage) {
  struct sim_device *d = &nvml_state->devices[device];
  uint64_t newest = timestamp(d->sampled_at);
  for (; *c < nvml_state->channels_high; (*c)++) {
    struct sim_channel *channel = &nvml_state->channels[*c];
    if (!channel->used || channel->device != device || newest <= since) continue;
    unsigned percent = engine_utilization(nvml_state, channel->samples, d->sample_count, channel->first_sample);
    if (percent == 0) continue;
    *usage = (struct usage){reported_pid(&nvml_state->slots[channel->slot]), percent, newest};
    (*c)++;
    return true;
  }
  return false;
}

static unsigned count_usages(int device, uint64_t since) {
  struct usage usage;
  unsigned count = 0;
  for (uint32_t c = 0; next_usage(device, since, &c, &usage);) count++;
  return count;
}

/* NOT_FOUND: nobody was busy since then. */
static nvmlReturn_t check_room(int device, uint64_t since, unsigned *count, const void *out) {
  nvmlReturn_t forced = (nvmlReturn_t)option_value(nvml_state, OPTION_nvml_utilization_result);
  if (forced != NVML_SUCCESS) return forced;
  unsigned room = *count, found = count_usages(device, since);
  *count = found;
  if (found == 0) return NVML_ERROR_NOT_FOUND;
  return out == NULL || room < found ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetProcessUtilization(nvmlDevice_t handle, nvmlProcessUtilizationSample_t *out, unsigned *count,
                                                 unsigned long long since) {
  int device;
  struct usage usage;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  result = count == NULL ? NVML_ERROR_INVALID_ARGUMENT : check_room(device, since, count, out);
  for (uint32_t c = 0, i = 0; result == NVML_SUCCESS && next_usage(device, since, &c, &usage); i++)
    out[i] = (nvmlProcessUtilizationSample_t){usage.pid, usage.timestamp, usage.percent, 0, 0, 0};
  nvml_leave();
  return result;
}

nvmlReturn_t sim_nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t handle, nvmlProcessesUtilizationInfo_v1_t *info) {
  int device;
  struct usage usage;
  if (info == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  if (info->version != NVML_PROCESSES_UTILIZATION_INFO_V1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  result = check_room(device, info->lastSeenTimeStamp, &info->processSamplesCount, info->procUtilArray);
  for (uint32_t c = 0, i = 0; result == NVML_SUCCESS && next_usage(device, info->lastSeenTimeStamp, &c, &usage); i++)
    info->procUtilArray[i] = (nvmlProcessUtilizationInfo_v1_t){.timeStamp = usage.timestamp, .pid = usage.pid, .smUtil = usage.percent};
  nvml_leave();
  return result;
}

/* ---- accounting ----------------------------------------------------------------------------- */

static struct sim_slot *slot_of(unsigned pid, int device) {
  for (uint32_t i = 0; i < nvml_state->slots_high; i++)
    if (uses(&nvml_state->slots[i], device) && reported_pid(&nvml_state->slots[i]) == pid) return &nvml_state->slots[i];
  return NULL;
}

static nvmlAccountingStats_v2_t stats_of(const struct sim_slot *slot, int device) {
  struct sim_device *d = &nvml_state->devices[device];
  uint64_t alive = clock_now(nvml_state) - slot->started_at, period = option_value(nvml_state, OPTION_nvml_period_ns);
  nvmlAccountingStats_v2_t stats = {.isRunning = 1, .maxMemoryUsage = slot->memory_peak[device], .time = alive / 1000000,
                                    .startTime = timestamp(slot->started_at)};
  if (slot->channel[device] < 0) return stats;
  struct sim_channel *channel = &nvml_state->channels[slot->channel[device]];
  stats.gpuUtilization = alive == 0 ? 0 : (unsigned)(channel->busy * 100 / alive);
  stats.sampleCount = (unsigned)(d->sample_count - channel->first_sample);
  stats.sumGpuUtil = channel->busy_sampled * 10000 / period; /* hundredths of a percent, summed over samples */
  return stats;
}

nvmlReturn_t sim_nvmlDeviceGetAccountingStats_v2(nvmlDevice_t handle, nvmlAccountingStats_v2_t *stats) {
  int device;
  if (stats == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  struct sim_slot *slot = slot_of(stats->pid, device);
  if (!option_value(nvml_state, OPTION_nvml_accounting)) result = NVML_ERROR_NOT_SUPPORTED;
  else if (slot == NULL) result = NVML_ERROR_NOT_FOUND;
  else {
    unsigned pid = stats->pid;
    *stats = stats_of(slot, device);
    stats->pid = pid;
  }
  nvml_leave();
  return result;
}

nvmlReturn_t sim_nvmlDeviceGetAccountingStats(nvmlDevice_t handle, unsigned pid, nvmlAccountingStats_t *stats) {
  nvmlAccountingStats_v2_t full = {.pid = pid};
  if (stats == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  nvmlReturn_t result = sim_nvmlDeviceGetAccountingStats_v2(handle, &full);
  if (result != NVML_SUCCESS) return result;
  *stats = (nvmlAccountingStats_t){full.gpuUtilization, 0, full.maxMemoryUsage, full.time, full.startTime, 1, {0}};
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetAccountingPids(nvmlDevice_t handle, unsigned *count, unsigned *pids) {
  int device;
  if (count == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  unsigned room = *count, place = 0;
  *count = count_processes(device);
  if (*count > room || (*count > 0 && pids == NULL)) result = NVML_ERROR_INSUFFICIENT_SIZE;
  for (uint32_t i = 0; result == NVML_SUCCESS && i < nvml_state->slots_high; i++)
    if (uses(&nvml_state->slots[i], device)) pids[place++] = reported_pid(&nvml_state->slots[i]);
  nvml_leave();
  return result;
}

nvmlReturn_t sim_nvmlDeviceGetAccountingMode(nvmlDevice_t handle, unsigned *mode) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  *mode = (unsigned)option_value(nvml_state, OPTION_nvml_accounting);
  nvml_leave();
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetAccountingBufferSize(nvmlDevice_t handle, unsigned *size) {
  nvmlReturn_t result = sim_nvmlDeviceGetAccountingMode(handle, size);
  if (result == NVML_SUCCESS) *size = SIM_SLOTS;
  return result;
}
