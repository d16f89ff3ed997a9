# Builds the simulated driver: build/shim/sim/libcuda.so.1 and libnvidia-ml.so.1.
# Included by a Makefile that runs in this directory, or used alone: make -f sim.mk sim
SIM_ROOT := $(dir $(lastword $(MAKEFILE_LIST)))
SIM_SRC := $(SIM_ROOT)tests/sim
SIM_OUT ?= $(SIM_ROOT)../build/shim/sim
SIM_CC ?= $(CC)
SIM_CFLAGS ?= -O2 -g
SIM_FLAGS := -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -Wall -Wextra -Wshadow -Wconversion -Werror -I$(SIM_ROOT)include \
  -I$(SIM_SRC)
SIM_LINK := -shared -Wl,-Bsymbolic -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,--version-script=$(SIM_SRC)/exports.map -pthread

SIM_MACHINE := state clock config engine account record
SIM_CUDA := device errors context memory linear pointer pool vmm array share copy stream event launch graph graph_exec \
  capture lookup
SIM_NVML := nvml nvml_process nvml_topology
SIM_HEADERS := $(wildcard $(SIM_SRC)/*.h $(SIM_SRC)/*.def $(SIM_ROOT)include/*_abi.h)

.PHONY: sim
sim: $(SIM_OUT)/libcuda.so.1 $(SIM_OUT)/libnvidia-ml.so.1

$(SIM_OUT)/%.o: $(SIM_SRC)/%.c $(SIM_HEADERS)
	@mkdir -p $(@D)
	$(SIM_CC) $(SIM_FLAGS) $(SIM_CFLAGS) -c $< -o $@

# record.c and the thunks are compiled once per library: each has its own list of exports.
$(SIM_OUT)/entries.o: $(SIM_SRC)/entries.S $(SIM_HEADERS)
	@mkdir -p $(@D)
	$(SIM_CC) -DLIST='"entries.def"' -DTABLE=entry_addresses -I$(SIM_SRC) -c $< -o $@

$(SIM_OUT)/nvml_entries.o: $(SIM_SRC)/entries.S $(SIM_HEADERS)
	@mkdir -p $(@D)
	$(SIM_CC) -DLIST='"nvml_entries.def"' -DTABLE=entry_addresses -I$(SIM_SRC) -c $< -o $@

$(SIM_OUT)/libcuda.so.1: $(addprefix $(SIM_OUT)/,$(addsuffix .o,$(SIM_MACHINE) $(SIM_CUDA) entries)) $(SIM_SRC)/exports.map
	$(SIM_CC) $(SIM_CFLAGS) $(SIM_LINK) -Wl,-soname,libcuda.so.1 -o $@ $(filter %.o,$^)

$(SIM_OUT)/libnvidia-ml.so.1: $(addprefix $(SIM_OUT)/,$(addsuffix .o,$(SIM_MACHINE) $(SIM_NVML) nvml_entries)) $(SIM_SRC)/exports.map
	$(SIM_CC) $(SIM_CFLAGS) $(SIM_LINK) -Wl,-soname,libnvidia-ml.so.1 -o $@ $(filter %.o,$^)

# Its own tests: make -f sim.mk sim-test
SIM_TESTS := $(patsubst $(SIM_SRC)/%.c,$(SIM_OUT)/%,$(wildcard $(SIM_SRC)/test_*.c))

$(SIM_OUT)/test_%: $(SIM_SRC)/test_%.c $(SIM_OUT)/libcuda.so.1 $(SIM_HEADERS)
	$(SIM_CC) $(SIM_FLAGS) $(SIM_CFLAGS) $< -o $@ $(SIM_OUT)/libcuda.so.1 -Wl,-rpath,'$$ORIGIN' -pthread -ldl

$(SIM_OUT)/bench_%: $(SIM_SRC)/bench_%.c $(SIM_OUT)/libcuda.so.1 $(SIM_HEADERS)
	$(SIM_CC) $(SIM_FLAGS) $(SIM_CFLAGS) $< -o $@ $(SIM_OUT)/libcuda.so.1 -Wl,-rpath,'$$ORIGIN' -pthread

.PHONY: sim-test
sim-test: sim $(SIM_TESTS)
	@for test in $(SIM_TESTS); do $$test || exit 1; done
