# The store engine. A list of its own: the simulation of faults compiles these once more, with PAGESERVER_MUTATIONS.
set(PAGESERVER_ENGINE_SOURCES
  embedded_store.cpp
  engine.cpp
  engine_checkpoint.cpp
  engine_publish.cpp
  engine_read.cpp
  engine_session.cpp
  engine_sessions.cpp
  engine_state.cpp
  engine_sync.cpp
  image_copy.cpp
  log_codec.cpp
  log_index.cpp
  log_scan.cpp
  log_segment.cpp
  private_bytes.cpp
  recovery.cpp)
