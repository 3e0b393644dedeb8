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
  std::string server;               ///< or a store
  std::vector<std::string> stores;  ///< of the server
  bool all = false;                 ///< each store that the server has open
  std::chrono::milliseconds wait{0};
  std::chrono::milliseconds timeout{5000};  ///< of a store
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

// sessions.cpp
struct SessionsOptions {
  std::string server;
  std::string store;  ///< empty: all
};
int run_sessions(Context& context, const SessionsOptions& options);

// top.cpp
struct TopOptions {
  std::string server;
  std::uint64_t count = 0;  ///< looks at it; 0: until it is ended
  std::chrono::milliseconds interval{1000};
};
int run_top(Context& context, const TopOptions& options);

// sessions.cpp
struct KickOptions {
  std::string server;
  std::uint64_t id = 0;
  bool connection = false;  ///< `id` is a connection's
  std::string reason;
};
int run_kick(Context& context, const KickOptions& options);

// identity.cpp
struct WhoamiOptions {
  std::string uri;  ///< a store, or a daemon
};
int run_whoami(Context& context, const WhoamiOptions& options);

struct TakeoverOptions {
  std::string uri;
  bool dead = false;
};
int run_takeover(Context& context, const TakeoverOptions& options);

struct TokenOptions {
  std::string action;
  std::string name;
  std::string add_to;  ///< the daemon's tokens file; empty: none
  std::string save;    ///< the client's file; empty: standard output
};
int run_token(Context& context, const TokenOptions& options);

// faults.cpp
struct FaultsOptions {
  std::string uri;
  std::vector<std::string> add;
  bool clear = false;  ///< before anything is added
};
int run_faults(Context& context, const FaultsOptions& options);

// run.cpp
inline constexpr int exit_never_struck = 124;  ///< the command was content, and an order never struck
inline constexpr int exit_run_failed = 125;    ///< what is to be around the command
struct RunOptions {
  std::string faults;  ///< a file of orders; empty: none
  std::string image;   ///< what the store begins as; empty: nothing
  std::string daemon;  ///< empty: PAGESERVERD, one beside this program, or in PATH
  std::vector<std::string> command;
};
int run_run(Context& context, const RunOptions& options);

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
  bool layout = false;  ///< tables and rows instead of pages
};
int run_diff(Context& context, const DiffOptions& options);

struct HashOptions {
  std::string uri;
};
int run_hash(Context& context, const HashOptions& options);

// inspect.cpp
struct InspectOptions {
  std::string uri;
  std::optional<std::uint64_t> page;
  bool map = false;
  bool svg = false;  ///< the map as an SVG document
};
int run_inspect(Context& context, const InspectOptions& options);

// verify.cpp
struct VerifyOptions {
  std::string uri;
};
int run_verify(Context& context, const VerifyOptions& options);

// mount.cpp
struct MountOptions {
  std::string uri;
  std::string file;
  bool foreground = false;
  bool read_only = false;
  bool allow_other = false;
  std::optional<std::uint64_t> ready_fd;
  std::string log;                         ///< file for what would go to standard error; empty: none
  std::vector<std::string> mount_options;  ///< of -o, each with commas in it
};
int run_mount(Context& context, const MountOptions& options);

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

// plot.cpp
struct PlotOptions {
  std::string what;  ///< trace or bench
  std::string file;
};
int run_plot(Context& context, const PlotOptions& options);

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
