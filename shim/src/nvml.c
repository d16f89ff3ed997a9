/* NVML as the container sees it: its slice's memory, its own processes.
 *
 * The real function is asked first and its errors stand. Then the answer is
 * rewritten: memory agrees with cuMemGetInfo to the byte, and processes come
 * from the usage page, under the PIDs that the container knows. Nothing else is
 * hidden: tools that look for peers and links find what is there.
 */
#include <string.h>

#include "guest.h"
#include "memory.h"
#include "real.h"

/* ---- which device ------------------------------------------------------------ */

static int hex(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

/* "GPU-8-4-4-4-12" → 16 bytes; 0 when it is something else. */
static int parse_uuid(const char *text, uint8_t *uuid) {
  const char *at = strchr(text, '-');
  unsigned count = 0;
  for (at = at ? at + 1 : text; *at && count < 32; at++) {
    int value = hex(*at);
    if (*at == '-') continue;
    if (value < 0) return 0;
    uuid[count / 2] = (uint8_t)(count % 2 ? uuid[count / 2] | value : value << 4);
    count++;
  }
  return count == 32;
}

/* VGPU_DEVICES_MAX: leave the driver's answer as it is. */
static uint32_t slice_device(nvmlDevice_t device) {
  char text[96] = "";
  uint8_t uuid[16];
  if (guest_enter() != GUEST_LIMITED) return VGPU_DEVICES_MAX;
  if (real_nvml()->nvmlDeviceGetUUID(device, text, sizeof text) || !parse_uuid(text, uuid)) return VGPU_DEVICES_MAX;
  return guest_device_by_uuid(uuid);
}

/* ---- memory -------------------------------------------------------------------- */

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
  uint64_t total, used;
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetMemoryInfo(device, memory);
  if (result || !memory) return result;
  uint32_t index = slice_device(device);
  if (index < VGPU_DEVICES_MAX && memory_view(index, &total, &used))
    *memory = (nvmlMemory_t){.total = total, .free = total - used, .used = used};
  return result;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
  uint64_t total, used;
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetMemoryInfo_v2(device, memory);
  if (result || !memory) return result;
  uint32_t index = slice_device(device);
  if (index < VGPU_DEVICES_MAX && memory_view(index, &total, &used)) {
    memory->reserved = 0; /* what the driver keeps is not taken from the slice */
    memory->total = total;
    memory->free = total - used;
    memory->used = used;
  }
  return result;
}

/* Mappings of other tenants are not ours to show; how much is ours nobody says. */
nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *memory) {
  uint64_t total, used;
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetBAR1MemoryInfo(device, memory);
  if (result || !memory) return result;
  uint32_t index = slice_device(device);
  if (index < VGPU_DEVICES_MAX && memory_view(index, &total, &used) && memory->bar1Used > used) {
    memory->bar1Used = used;
    memory->bar1Free = memory->bar1Total - used;
  }
  return result;
}

/* ---- processes ------------------------------------------------------------------- */

struct process {
  uint32_t slot;
  unsigned pid;
  uint64_t bytes;
};

/* Walks the slice's processes that hold memory there or have used the device: 1 and
 * `process`, and `next` is the slot to go on from; 0 at the end. */
static int next_process(uint32_t device, uint32_t *next, struct process *process) {
  const struct vgpu_usage *page = guest.account.page;
  uint32_t slots = page->slots_used < VGPU_SLOTS_MAX ? page->slots_used : VGPU_SLOTS_MAX;
  while (*next < slots) {
    uint32_t slot = (*next)++;
    if (__atomic_load_n(&page->slots[slot].state, __ATOMIC_ACQUIRE) != VGPU_SLOT_LIVE) continue;
    int64_t bytes = vgpu_usage_memory(page, slot, device, NULL);
    *process = (struct process){slot, (unsigned)page->slots[slot].pid, bytes > 0 ? (uint64_t)bytes : 0};
    if (bytes > 0 || page->accounts[slot * VGPU_DEVICES_MAX + device].counters.gpu_ns) return 1;
  }
  return 0;
}

/* NVML's way to say how much room is needed. */
static nvmlReturn_t room(unsigned *count, unsigned needed) {
  int enough = *count >= needed;
  *count = needed;
  return enough ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

static int answered(nvmlReturn_t result) {
  return result == NVML_SUCCESS || result == NVML_ERROR_INSUFFICIENT_SIZE;
}

static nvmlReturn_t fill_v1(uint32_t device, unsigned *count, nvmlProcessInfo_v1_t *out) {
  struct process process;
  unsigned needed = 0;
  for (uint32_t next = 0; next_process(device, &next, &process); needed++)
    if (out && needed < *count)
      out[needed] = (nvmlProcessInfo_v1_t){.pid = process.pid, .usedGpuMemory = process.bytes};
  return room(count, needed);
}

static nvmlReturn_t fill(uint32_t device, unsigned *count, nvmlProcessInfo_t *out) {
  struct process process;
  unsigned needed = 0;
  for (uint32_t next = 0; next_process(device, &next, &process); needed++)
    if (out && needed < *count)
      out[needed] = (nvmlProcessInfo_t){.pid = process.pid, .usedGpuMemory = process.bytes,
                                        .gpuInstanceId = NVML_INSTANCE_NOT_AVAILABLE,
                                        .computeInstanceId = NVML_INSTANCE_NOT_AVAILABLE};
  return room(count, needed);
}

/* The real list is asked for its length only: an error of its own stands. */
typedef nvmlReturn_t (*list_v1_function)(nvmlDevice_t, unsigned *, nvmlProcessInfo_v1_t *);
typedef nvmlReturn_t (*list_function)(nvmlDevice_t, unsigned *, nvmlProcessInfo_t *);

static nvmlReturn_t own_list_v1(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_v1_t *out, list_v1_function ask) {
  unsigned none = 0;
  uint32_t index = count ? slice_device(device) : VGPU_DEVICES_MAX;
  if (index >= VGPU_DEVICES_MAX) return ask(device, count, out);
  nvmlReturn_t result = ask(device, &none, NULL);
  return answered(result) ? fill_v1(index, count, out) : result;
}

static nvmlReturn_t own_list(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *out, list_function ask) {
  unsigned none = 0;
  uint32_t index = count ? slice_device(device) : VGPU_DEVICES_MAX;
  if (index >= VGPU_DEVICES_MAX) return ask(device, count, out);
  nvmlReturn_t result = ask(device, &none, NULL);
  return answered(result) ? fill(index, count, out) : result;
}

/* What uses CUDA computes: the graphics list of a slice is empty. */
static nvmlReturn_t empty_list(nvmlReturn_t result, unsigned *count) {
  if (answered(result)) *count = 0;
  return answered(result) ? NVML_SUCCESS : result;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_v1_t *list) {
  return own_list_v1(device, count, list, real_nvml()->nvmlDeviceGetComputeRunningProcesses);
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *list) {
  return own_list(device, count, list, real_nvml()->nvmlDeviceGetComputeRunningProcesses_v2);
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *list) {
  return own_list(device, count, list, real_nvml()->nvmlDeviceGetComputeRunningProcesses_v3);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_v1_t *list) {
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetGraphicsRunningProcesses(device, count, list);
  return count && slice_device(device) < VGPU_DEVICES_MAX ? empty_list(result, count) : result;
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *list) {
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetGraphicsRunningProcesses_v2(device, count, list);
  return count && slice_device(device) < VGPU_DEVICES_MAX ? empty_list(result, count) : result;
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *list) {
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetGraphicsRunningProcesses_v3(device, count, list);
  return count && slice_device(device) < VGPU_DEVICES_MAX ? empty_list(result, count) : result;
}

nvmlReturn_t nvmlDeviceGetAccountingPids(nvmlDevice_t device, unsigned *count, unsigned *pids) {
  struct process process;
  uint32_t index = count ? slice_device(device) : VGPU_DEVICES_MAX;
  if (index >= VGPU_DEVICES_MAX) return real_nvml()->nvmlDeviceGetAccountingPids(device, count, pids);
  unsigned none = 0, needed = 0;
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetAccountingPids(device, &none, NULL);
  if (!answered(result)) return result;
  for (uint32_t next = 0; next_process(index, &next, &process); needed++)
    if (pids && needed < *count) pids[needed] = process.pid;
  return room(count, needed);
}

/* ---- utilisation -------------------------------------------------------------------- */

enum { SAMPLE_NS = 100000000, RATED_SLOTS = 1024 };

/* Per cent of a device's time between two looks at a counter, at least 0.1 s apart. */
struct rate {
  uint64_t gpu_ns, at_ns;
  uint32_t percent;
};

static uint32_t rate_percent(struct rate *rate, uint64_t gpu_ns) {
  uint64_t now = guest_clock.now();
  if (now - rate->at_ns < SAMPLE_NS && rate->at_ns) return rate->percent;
  uint64_t busy = gpu_ns > rate->gpu_ns && rate->at_ns ? gpu_ns - rate->gpu_ns : 0;
  uint64_t percent = busy * 100 / (now - rate->at_ns);
  *rate = (struct rate){gpu_ns, now, percent > 100 ? 100 : (uint32_t)percent};
  return rate->percent;
}

static uint64_t of_share(uint32_t percent, uint32_t device) {
  const struct guest_limits *limits = guest_limits_of(device);
  if (limits->flags & VGPU_DEVICE_RAW_UTILIZATION) return percent;
  uint32_t scaled = percent * 100 / limits->compute_percent;
  return scaled > 100 ? 100 : scaled;
}

/* How busy the slice is: of its share, so that "100 %" means what it says inside. */
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
  static struct rate rates[VGPU_DEVICES_MAX];
  nvmlReturn_t result = real_nvml()->nvmlDeviceGetUtilizationRates(device, utilization);
  if (result || !utilization) return result;
  uint32_t index = slice_device(device);
  if (index >= VGPU_DEVICES_MAX) return result;
  uint64_t gpu_ns = __atomic_load_n(&guest.account.page->devices[index].total.gpu_ns, __ATOMIC_RELAXED);
  utilization->gpu = (unsigned)of_share(rate_percent(&rates[index], gpu_ns), index);
  return result;
}

static uint32_t process_percent(uint32_t device, uint32_t slot) {
  static struct rate rates[RATED_SLOTS]; /* of the first slots, for one device at a time */
  static uint32_t rated_device;
  if (slot >= RATED_SLOTS) return 0;
  if (__atomic_exchange_n(&rated_device, device, __ATOMIC_RELAXED) != device) memset(rates, 0, sizeof rates);
  return rate_percent(&rates[slot], account_of(guest.account.page, slot, device)->counters.gpu_ns);
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *out, unsigned *count,
                                             unsigned long long since) {
  struct process process;
  unsigned needed = 0;
  uint32_t index = count ? slice_device(device) : VGPU_DEVICES_MAX;
  if (index >= VGPU_DEVICES_MAX) return real_nvml()->nvmlDeviceGetProcessUtilization(device, out, count, since);
  for (uint32_t next = 0; next_process(index, &next, &process); needed++)
    if (out && needed < *count)
      out[needed] = (nvmlProcessUtilizationSample_t){.pid = process.pid, .timeStamp = since + 1,
                                                     .smUtil = process_percent(index, process.slot)};
  return room(count, needed);
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_v1_t *info) {
  struct process process;
  unsigned needed = 0;
  uint32_t index = info ? slice_device(device) : VGPU_DEVICES_MAX;
  if (index >= VGPU_DEVICES_MAX) return real_nvml()->nvmlDeviceGetProcessesUtilizationInfo(device, info);
  for (uint32_t next = 0; next_process(index, &next, &process); needed++)
    if (info->procUtilArray && needed < info->processSamplesCount)
      info->procUtilArray[needed] =
          (nvmlProcessUtilizationInfo_v1_t){.pid = process.pid, .timeStamp = info->lastSeenTimeStamp + 1,
                                            .smUtil = process_percent(index, process.slot)};
  return room(&info->processSamplesCount, needed);
}
