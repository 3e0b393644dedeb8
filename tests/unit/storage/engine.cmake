# The store engine.
pageserver_test(engine_test LABEL unit threads
  SOURCES
    engine_checkpoint_test.cpp
    engine_commit_test.cpp
    engine_durability_test.cpp
    engine_lease_test.cpp
    engine_page_map_test.cpp
    engine_placement_test.cpp
    engine_recovery_test.cpp
    engine_session_test.cpp
    engine_threads_test.cpp
    engine_views_test.cpp
    engine_zero_test.cpp
    image_note_test.cpp
    read_gate_test.cpp
    resume_entry_test.cpp
    store_tasks_test.cpp
  LIBRARIES pageserver_storage pageserver_test_support)
# The parts that it and the log are made of. None of them knows a thread.
pageserver_test(engine_parts_test LABEL unit
  SOURCES
    block_reservations_test.cpp
    checkpoint_round_test.cpp
    flush_queue_test.cpp
    holders_test.cpp
    image_changes_test.cpp
    image_watch_test.cpp
    index_memory_test.cpp
    index_progress_test.cpp
    last_session_test.cpp
    lease_queue_test.cpp
    log_bound_test.cpp
    log_codec_test.cpp
    log_index_test.cpp
    log_segment_test.cpp
    log_tail_test.cpp
    names_look_test.cpp
    page_runs_test.cpp
    private_blocks_test.cpp
    private_budget_test.cpp
    private_bytes_test.cpp
    private_ranges_test.cpp
    range_locator_test.cpp
    read_plan_test.cpp
    room_waiters_test.cpp
    round_pace_test.cpp
    served_image_test.cpp
    session_counts_test.cpp
    session_factory_test.cpp
    store_faults_test.cpp
    store_home_test.cpp
  LIBRARIES pageserver_storage pageserver_test_support)
# Whole images compared byte for byte, often: minutes without optimisation.
set_source_files_properties(log_index_test.cpp private_bytes_test.cpp PROPERTIES
  COMPILE_OPTIONS -O2 SKIP_PRECOMPILE_HEADERS ON)
# It replaces operator new: a program of its own. Many stores are opened in it.
pageserver_test(engine_memory_test LABEL unit
  SOURCES
    engine_memory_commit_test.cpp
    engine_memory_lifecycle_test.cpp
    engine_memory_publish_test.cpp
    engine_memory_sessions_test.cpp
    failing_resources.cpp
    memory_world.cpp
    private_memory_test.cpp
  LIBRARIES pageserver_storage pageserver_test_support)
