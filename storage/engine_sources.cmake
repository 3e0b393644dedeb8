# The store engine. A list of its own: the simulation of faults compiles these once more, with PAGESERVER_MUTATIONS.
set(PAGESERVER_ENGINE_SOURCES
  embedded/embedded_store.cpp
  embedded/shared_store.cpp
  engine/block_reservations.cpp
  engine/checkpoint.cpp
  engine/commit.cpp
  engine/engine.cpp
  engine/holders.cpp
  engine/home_calls.cpp
  engine/image_changes.cpp
  engine/image_copy.cpp
  engine/image_watch.cpp
  engine/last_session.cpp
  engine/lease_queue.cpp
  engine/leases.cpp
  engine/log_check.cpp
  engine/log_tail.cpp
  engine/names_look.cpp
  engine/page_map.cpp
  engine/page_runs.cpp
  engine/placement.cpp
  engine/private_blocks.cpp
  engine/private_budget.cpp
  engine/private_bytes.cpp
  engine/private_ranges.cpp
  engine/publish.cpp
  engine/range_locator.cpp
  engine/read.cpp
  engine/read_plan.cpp
  engine/recovery.cpp
  engine/reserve.cpp
  engine/room.cpp
  engine/served_image.cpp
  engine/session.cpp
  engine/session_factory.cpp
  engine/session_state.cpp
  engine/set_aside.cpp
  engine/store_faults.cpp
  engine/store_home.cpp
  engine/sync.cpp
  file/disk_compare.cpp
  file/file_system_warning.cpp
  file/mapped_file.cpp
  log/image_note.cpp
  log/log_checksum.cpp
  log/log_codec.cpp
  log/log_index.cpp
  log/log_scan.cpp
  log/log_segment.cpp
  log/resume_file.cpp
  log/xxh3_wide.cpp)

# What is compiled for some processors alone; chosen at run time.
set(pageserver_wide_source ${CMAKE_CURRENT_LIST_DIR}/log/xxh3_wide.cpp)
set_source_files_properties(${pageserver_wide_source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|i.86)$")
  set_source_files_properties(${pageserver_wide_source} PROPERTIES COMPILE_OPTIONS -mavx2)
endif()
