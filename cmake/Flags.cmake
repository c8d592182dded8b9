# Compiler flags shared by all targets. Presets choose RINGVISOR_SANITIZE.
set(RINGVISOR_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them; empty for none")
option(RINGVISOR_FUZZ "Build the libFuzzer targets (clang only)" OFF)

add_compile_options(-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wpointer-arith -Wvla -fno-strict-aliasing -fno-common)
# So that a tracer can walk the stack of the running daemon (ringtrace flame).
add_compile_options(-fno-omit-frame-pointer)
option(RINGVISOR_PROBES "Compile the USDT probes of src/trace/probe.h in" ON)
if(RINGVISOR_PROBES)
  add_compile_definitions(RINGVISOR_PROBES=1)
endif()

add_compile_definitions(_GNU_SOURCE RINGVISOR_VERSION="${PROJECT_VERSION}")
include_directories(${PROJECT_SOURCE_DIR}/src)

if(RINGVISOR_SANITIZE)
  add_compile_options(-fsanitize=${RINGVISOR_SANITIZE}
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${RINGVISOR_SANITIZE})
endif()
if(RINGVISOR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Allocation goes through jemalloc, but not where a sanitizer has its own allocator.
if(RINGVISOR_SANITIZE)
  add_library(ringvisor_alloc INTERFACE)
else()
  add_library(ringvisor_alloc INTERFACE)
  target_link_libraries(ringvisor_alloc INTERFACE PkgConfig::JEMALLOC)
  target_compile_definitions(ringvisor_alloc INTERFACE RINGVISOR_JEMALLOC=1)
endif()
