/* The machine's description: defaults, then the lines of VGPU_SIM_CONFIG.
 * Also the options' names, for sim_set() and sim_get().
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "state.h"

static const char *const option_names[OPTION_COUNT] = {
#define OPTION(name, value, meaning) #name,
#include "options.def"
#undef OPTION
};

static const uint64_t option_defaults[OPTION_COUNT] = {
#define OPTION(name, value, meaning) (value),
#include "options.def"
#undef OPTION
};

static int find_option(const char *name) {
  for (int i = 0; i < OPTION_COUNT; i++)
    if (strcmp(option_names[i], name) == 0) return i;
  return -1;
}

int sim_set(const char *option, uint64_t value) {
  struct sim_state *state = state_open();
  int index = find_option(option);
  if (state == NULL || index < 0) return -1;
  atomic_store(&state->options[index], value);
  return 0;
}

uint64_t sim_get(const char *option) {
  struct sim_state *state = state_open();
  int index = find_option(option);
  return state == NULL || index < 0 ? 0 : atomic_load(&state->options[index]);
}

/* ---- the file ------------------------------------------------------------ */

/* "80G", "512M", "4096": bytes, or a plain number. */
static uint64_t parse_number(const char *text) {
  char *end;
  uint64_t value = strtoull(text, &end, 0);
  switch (*end) {
    case 'K': return value << 10;
    case 'M': return value << 20;
    case 'G': return value << 30;
    case 'T': return value << 40;
    default: return value;
  }
}

static void default_device(struct sim_device *device, int index) {
  snprintf(device->name, sizeof device->name, "NVIDIA H100 80GB HBM3");
  snprintf(device->uuid, sizeof device->uuid, "GPU-51300000-0000-4000-8000-%012x", index);
  device->memory = 80ULL << 30;
  device->multiprocessors = 132;
  device->numa = 0;
  device->current = -1;
}

static void set_device(struct sim_device *device, const char *key, const char *value) {
  if (strcmp(key, "model") == 0) snprintf(device->name, sizeof device->name, "%s", value);
  if (strcmp(key, "uuid") == 0) snprintf(device->uuid, sizeof device->uuid, "%s", value);
  if (strcmp(key, "memory") == 0) device->memory = parse_number(value);
  if (strcmp(key, "sms") == 0) device->multiprocessors = (uint32_t)parse_number(value);
  if (strcmp(key, "numa") == 0) device->numa = (int32_t)parse_number(value);
}

static void set_every_device(struct sim_state *state, const char *key, const char *value) {
  for (int i = 0; i < SIM_DEVICES; i++) set_device(&state->devices[i], key, value);
}

static void set_link(struct sim_state *state, const char *value) {
  unsigned a = 0, b = 0, links = 0;
  if (sscanf(value, "%u %u %u", &a, &b, &links) != 3 || a >= SIM_DEVICES || b >= SIM_DEVICES) return;
  state->devices[a].links[b] = state->devices[b].links[a] = (uint8_t)links;
}

static void set_numbered_device(struct sim_state *state, const char *value) {
  unsigned index = 0;
  char key[32], rest[256];
  if (sscanf(value, "%u %31s %255[^\n]", &index, key, rest) != 3 || index >= SIM_DEVICES) return;
  set_device(&state->devices[index], key, rest);
}

static void apply_line(struct sim_state *state, const char *line) {
  char key[64], value[320];
  if (sscanf(line, " %63s %319[^\n]", key, value) != 2 || key[0] == '#') return;
  int option = find_option(key);
  if (option >= 0)
    atomic_store(&state->options[option], parse_number(value));
  else if (strcmp(key, "device") == 0)
    set_numbered_device(state, value);
  else if (strcmp(key, "link") == 0)
    set_link(state, value);
  else
    set_every_device(state, key, value);
}

static FILE *open_config(void) {
  const char *path = getenv("VGPU_SIM_CONFIG");
  return path == NULL || *path == '\0' ? NULL : fopen(path, "re");
}

void config_apply(struct sim_state *state) {
  for (int i = 0; i < OPTION_COUNT; i++) atomic_store(&state->options[i], option_defaults[i]);
  for (int i = 0; i < SIM_DEVICES; i++) default_device(&state->devices[i], i);
  FILE *file = open_config();
  if (file == NULL) return;
  char line[512];
  while (fgets(line, sizeof line, file) != NULL) apply_line(state, line);
  fclose(file);
  if (atomic_load(&state->options[OPTION_devices]) > SIM_DEVICES)
    atomic_store(&state->options[OPTION_devices], SIM_DEVICES);
}

uint64_t config_hash(void) {
  uint64_t hash = 1469598103934665603U; /* FNV-1a */
  FILE *file = open_config();
  if (file == NULL) return hash;
  for (int byte = fgetc(file); byte != EOF; byte = fgetc(file)) hash = (hash ^ (unsigned char)byte) * 1099511628211U;
  fclose(file);
  return hash;
}
