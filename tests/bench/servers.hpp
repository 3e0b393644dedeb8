// The servers that are compared: each a child process on the server core, serving an image of its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/peers.hpp"
#include "tests/bench/target.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/process.hpp"

namespace pageserver::bench {

/// One of those that take turns; returns its figure for a round.
struct Subject {
  std::string name;
  std::function<double(std::size_t round)> sample;
};

/// Takes one subject's figures at somebody else's word: see driver.hpp.
using Driver = std::function<void(const Subject& subject, const std::string& unit, bool more_is_better)>;

struct Settings {
  std::filesystem::path folder;    ///< images and sockets; on the disk that is measured
  std::filesystem::path programs;  ///< where pageserverd, pagectl and pageserver_least are
  std::size_t rounds = 9;
  bool quick = false;  ///< short rounds and small files
  unsigned server_core = 0;
  unsigned client_core = 1;
  Driver driver = {};         ///< not empty: rows measure no rivals, and need none
  std::string uri_keys = {};  ///< for the sessions of our own library with our daemon, `key=value&...`
};

/// The row can't be measured here: a program is missing. The text names it.
class NotAvailable : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// A running server; it ends with the object.
class Server {
public:
  /// `pid` is that of the process, or of the one that it left in the background.
  Server(std::string name, std::unique_ptr<test::Process> process, pid_t pid, Address address, MakeProtocol protocol);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  const std::string& name() const noexcept { return name_; }
  const Address& address() const noexcept { return address_; }
  pid_t pid() const noexcept { return pid_; }
  test::Process& process() noexcept { return *process_; }
  std::unique_ptr<Protocol> protocol(bool write) const { return protocol_(write); }
  /// Through the load generator's own client.
  std::unique_ptr<Target> connect(Transport transport, bool write) const {
    return connect_wire(address_, transport, protocol_(write));
  }

private:
  std::string name_;
  std::unique_ptr<test::Process> process_;
  pid_t pid_;
  Address address_;
  MakeProtocol protocol_;
};

/// `pageserver://...` or `pageserver+unix://...` of a store; `query` without its question mark.
std::string uri_of(const Address& address, Transport transport, std::string_view store, std::string_view query);

/// Starts servers on first use and keeps them.
class Servers {
public:
  explicit Servers(Settings settings) : settings_(std::move(settings)) {}

  const Settings& settings() const noexcept { return settings_; }

  /// One of launch_of()'s programs, or `least`. Throws NotAvailable when it is not installed.
  Server& peer(const std::string& name, Transport transport);
  /// The NBD servers that are installed and serve the image; `notes` gets why others do not. Throws NotAvailable when
  /// none is left.
  std::vector<Server*> nbd_peers(Transport transport, std::vector<std::string>& notes);
  /// A daemon with the store `bench` that polls for so many microseconds; its log is bounded to `log_bytes`, 0 for the
  /// daemon's own bound.
  Server& pageserverd(unsigned poll_us, std::uint64_t log_bytes = 0);
  /// The same with TLS beside.
  Server& pageserverd_with_tls(unsigned poll_us);

  /// Made when they are first asked for.
  const TlsFiles& tls_files();
  /// The flags with which a daemon has the port of `address` for TLS as well.
  std::vector<std::string> tls_flags(std::uint16_t port);

  /// A daemon of a row's own, on TCP and a Unix socket. Without polling unless a time is given.
  std::unique_ptr<Server> start_daemon(const std::string& name, const std::vector<std::string>& flags,
                                       unsigned poll_us = 0, std::uint16_t tls_port = 0) const;
  /// A peer of a row's own, over TCP.
  std::unique_ptr<Server> start_peer(const std::string& name, const std::string& image) const;

  std::string program(const std::string& name) const { return (settings_.programs / name).string(); }
  std::string file(const std::string& name) const { return (settings_.folder / name).string(); }
  /// Writes an image of `image_bytes` with the content that check_image() wants; returns its path.
  std::string make_image(const std::string& name) const;

private:
  std::unique_ptr<Server> start_process(const std::string& name, const Launch& launch) const;
  std::unique_ptr<Server> start_least(const std::string& name) const;

  Settings settings_;
  std::optional<test::Certificates> certificates_;
  TlsFiles tls_files_;
  std::map<std::string, std::unique_ptr<Server>> running_;
};

/// The path of a program found through PATH; empty when it is not installed.
std::string find_program(const std::string& name);
/// The peers' programs that are not installed.
std::vector<std::string> missing_programs();

/// Pins the calling thread, and the threads and processes that it starts, to one core.
void pin_to(unsigned core);

}  // namespace pageserver::bench
