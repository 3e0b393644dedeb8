// The commands: what each is told, and what runs it. They return an exit status or throw MemoryError.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/pagectl/commands/context.hpp"

namespace pageserver::pagectl {

// server.cpp
struct ListOptions {
  std::string server;
};
int run_list(Context& context, const ListOptions& options);

struct PingOptions {
  std::string server;
  std::chrono::milliseconds wait{0};
};
int run_ping(Context& context, const PingOptions& options);

struct CreateOptions {
  std::string uri;
  std::uint64_t pages = 0;
};
int run_create(Context& context, const CreateOptions& options);

struct RemoveOptions {
  std::string uri;
};
int run_remove(Context& context, const RemoveOptions& options);

// info.cpp
struct InfoOptions {
  std::string uri;
};
int run_info(Context& context, const InfoOptions& options);

struct LeaseOptions {
  std::string uri;
  bool break_it = false;
};
int run_lease(Context& context, const LeaseOptions& options);

// bytes.cpp
struct ReadOptions {
  std::string uri;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool hex = false;
};
int run_read(Context& context, const ReadOptions& options);

struct WriteOptions {
  std::string uri;
  std::uint64_t offset = 0;
};
int run_write(Context& context, const WriteOptions& options);

struct GrowOptions {
  std::string uri;
  std::uint64_t pages = 0;
};
int run_grow(Context& context, const GrowOptions& options);

// copy.cpp
struct CopyOptions {
  std::string source;
  std::string destination;
  bool force = false;
  bool check = false;
};
int run_copy(Context& context, const CopyOptions& options);

// compare.cpp
struct DiffOptions {
  std::string first;
  std::string second;
};
int run_diff(Context& context, const DiffOptions& options);

struct HashOptions {
  std::string uri;
};
int run_hash(Context& context, const HashOptions& options);

// replay.cpp
struct ReplayOptions {
  std::string trace;
  std::string uri;
  std::uint64_t depth = 1;
};
int run_replay(Context& context, const ReplayOptions& options);

// bench.cpp
struct BenchOptions {
  std::string uri;
  std::vector<std::uint64_t> sizes;   ///< bytes of a request; empty: 8, 4096, 65536
  std::vector<std::uint64_t> depths;  ///< requests in flight; empty: 1
  std::uint64_t write_percent = 0;
  double seconds = 2;
  std::optional<std::uint64_t> count;  ///< requests of each run, instead of seconds
  bool sequential = false;
  std::uint64_t seed = 1;
};
int run_bench(Context& context, const BenchOptions& options);

// recovery.cpp
struct FileOptions {
  std::string file;
};
int run_check(Context& context, const FileOptions& options);

struct RecoverOptions {
  std::string file;
  bool adopt = false;
  bool drop_log = false;
};
int run_recover(Context& context, const RecoverOptions& options);

}  // namespace pageserver::pagectl
