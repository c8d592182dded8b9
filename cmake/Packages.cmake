# Every library comes from Debian through pkg-config; a missing one names the package to install.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

option(RINGVISOR_TESTS "Build the tests" ON)

function(ringvisor_package target module debian)
  pkg_check_modules(${target} QUIET IMPORTED_TARGET ${module})
  if(NOT ${target}_FOUND)
    message(FATAL_ERROR
      "${module} was not found by pkg-config. On Debian: apt-get install ${debian}")
  endif()
endfunction()

ringvisor_package(URING liburing>=2.3 liburing-dev)
ringvisor_package(JANSSON jansson libjansson-dev)
ringvisor_package(ZLIB zlib zlib1g-dev)
ringvisor_package(LZMA liblzma liblzma-dev)
ringvisor_package(LZ4 liblz4 liblz4-dev)
ringvisor_package(ZSTD libzstd libzstd-dev)
ringvisor_package(BPF libbpf libbpf-dev)
ringvisor_package(DW libdw libdw-dev)
ringvisor_package(JEMALLOC jemalloc libjemalloc-dev)
if(RINGVISOR_TESTS)
  ringvisor_package(CRITERION criterion libcriterion-dev)
endif()

function(ringvisor_program variable name debian)
  find_program(${variable} ${name})
  if(NOT ${variable})
    message(FATAL_ERROR "${name} was not found. On Debian: apt-get install ${debian}")
  endif()
endfunction()

# For what has no pkg-config file.
function(ringvisor_header variable header debian)
  find_path(${variable} ${header})
  if(NOT ${variable})
    message(FATAL_ERROR "<${header}> was not found. On Debian: apt-get install ${debian}")
  endif()
endfunction()

# The macros of USDT probes.
ringvisor_header(SYS_SDT sys/sdt.h systemtap-sdt-dev)

# Compile the BPF programs, whatever compiles the rest; make their skeletons.
ringvisor_program(BPF_CLANG clang clang)
ringvisor_program(BPFTOOL bpftool bpftool)

# Compiles the DSDT's ASL source.
ringvisor_program(IASL iasl acpica-tools)
