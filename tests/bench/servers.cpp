#include "tests/bench/servers.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>

#include "tests/bench/load.hpp"

namespace pageserver::bench {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// The peers have no common way to say that they serve.
template <class Done>
void wait_for(Done done, const std::string& name, const test::Process* process) {
  const auto deadline = Clock::now() + 30s;
  while (!done()) {
    const std::string said = process != nullptr ? ": " + process->err_so_far() : "";
    if (process != nullptr && !process->running()) throw std::runtime_error(name + " ended" + said);
    if (Clock::now() > deadline) throw std::runtime_error(name + " does not serve" + said);
    std::this_thread::sleep_for(1ms);
  }
}

bool serves(const Address& address) {
  return (address.port == 0 || accepts(address, Transport::tcp)) &&
         (address.tls_port == 0 || accepts(address, Transport::tls)) &&
         (address.socket_path.empty() || accepts(address, Transport::unix_socket));
}

void fill_redis(const Server& server, Transport transport) {
  const auto target = server.connect(transport, true);
  std::vector<std::byte> part(1u << 20);
  for (std::uint64_t at = 0; at < image_bytes; at += part.size()) {
    for (std::size_t i = 0; i < part.size(); ++i) part[i] = image_byte(at + i);
    target->start_write(at, part);
    target->wait();
  }
}

std::string encoded(std::string_view path) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string text;
  for (const char c : path) {
    if (std::string_view("%?#&+ ").find(c) == std::string_view::npos) {
      text += c;
    } else {
      text += '%';
      text += digits[static_cast<unsigned char>(c) >> 4];
      text += digits[static_cast<unsigned char>(c) & 15];
    }
  }
  return text;
}

}  // namespace

Server::Server(std::string name, std::unique_ptr<test::Process> process, pid_t pid, Address address,
               MakeProtocol protocol)
    : name_(std::move(name)),
      process_(std::move(process)),
      pid_(pid),
      address_(std::move(address)),
      protocol_(std::move(protocol)) {}

Server::~Server() {
  if (pid_ == process_->pid() || ::kill(pid_, SIGTERM) != 0) return;
  const auto deadline = Clock::now() + 5s;
  while (::kill(pid_, 0) == 0 && Clock::now() < deadline) std::this_thread::sleep_for(1ms);
}

std::string uri_of(const Address& address, Transport transport, std::string_view store, std::string_view query) {
  std::string uri;
  std::string keys;
  const auto add = [&](std::string_view more) {
    if (!keys.empty() && !more.empty()) keys += '&';
    keys += more;
  };
  switch (transport) {
    case Transport::tls:
      uri = "pageservers://localhost:" + std::to_string(address.tls_port) + "/" + std::string(store);
      add("tls_ca=" + encoded(address.tls_ca));
      break;
    case Transport::tcp:
      uri = "pageserver://127.0.0.1:" + std::to_string(address.port) + "/" + std::string(store);
      break;
    case Transport::unix_socket:
      uri = "pageserver+unix:///" + std::string(store);
      add("socket=" + encoded(address.socket_path));
      break;
  }
  add(query);
  add(address.uri_keys);
  return keys.empty() ? uri : uri + "?" + keys;
}

Server& Servers::peer(const std::string& name, Transport transport) {
  const std::string key = name + (transport == Transport::tls                      ? "-tls"
                                  : transport == Transport::tcp || name == "least" ? ""
                                                                                   : "-unix");
  if (const auto found = running_.find(key); found != running_.end()) return *found->second;
  std::unique_ptr<Server> server;
  if (name == "least") {
    server = start_least(name);
  } else {
    if (find_program(name).empty()) throw NotAvailable(name + " is not installed");
    const bool redis = name == "redis-server";
    const std::string image = redis ? "" : make_image(key + ".img");
    const Launch launch = transport == Transport::tls ? tls_launch_of(name, tls_files(), image, file(key))
                                                      : launch_of(name, transport, image, file(key));
    server = start_process(name, launch);
    if (redis) fill_redis(*server, transport);
  }
  check_image(*server->connect(transport, false));
  return *(running_[key] = std::move(server));
}

std::vector<Server*> Servers::nbd_peers(Transport transport, std::vector<std::string>& notes) {
  std::vector<Server*> peers;
  for (const std::string& name : nbd_peer_names()) {
    try {
      peers.push_back(&peer(name, transport));
    } catch (const std::exception& error) {
      notes.push_back(name + " is left out: " + error.what());
    }
  }
  if (peers.empty()) throw NotAvailable("no NBD server is installed");
  return peers;
}

Server& Servers::pageserverd(unsigned poll_us, std::uint64_t log_bytes) {
  const std::string name = "pageserverd-" + std::to_string(poll_us) + "-" + std::to_string(log_bytes);
  if (const auto found = running_.find(name); found != running_.end()) return *found->second;
  std::vector<std::string> flags{"--store", "bench=" + make_image(name + ".img")};
  if (log_bytes != 0) {
    const std::string config = file(name + ".json");
    std::ofstream(config) << R"({"limits": {"log_bytes": )" << log_bytes << "}}";
    flags.insert(flags.end(), {"--config", config});
  }
  auto server = start_daemon(name, flags, poll_us);
  check_image(*server->connect(Transport::unix_socket, false));
  return *(running_[name] = std::move(server));
}

Server& Servers::pageserverd_with_tls(unsigned poll_us) {
  const std::string name = "pageserverd-tls-" + std::to_string(poll_us);
  if (const auto found = running_.find(name); found != running_.end()) return *found->second;
  const std::uint16_t port = free_port();
  std::vector<std::string> flags = tls_flags(port);
  flags.insert(flags.end(), {"--store", "bench=" + make_image(name + ".img")});
  auto server = start_daemon(name, flags, poll_us, port);
  check_image(*server->connect(Transport::tls, false));
  return *(running_[name] = std::move(server));
}

const TlsFiles& Servers::tls_files() {
  if (certificates_) return tls_files_;
  if (find_program("openssl").empty()) throw NotAvailable("openssl is not installed");
  certificates_.emplace();
  certificates_->make("server", {});
  tls_files_ = {certificates_->certificate("ca"), certificates_->certificate("server"), certificates_->key("server"),
                certificates_->file("nbdkit")};
  const std::filesystem::path folder = tls_files_.nbdkit_folder;
  std::filesystem::create_directory(folder);
  std::filesystem::create_symlink(tls_files_.ca, folder / "ca-cert.pem");
  std::filesystem::create_symlink(tls_files_.certificate, folder / "server-cert.pem");
  std::filesystem::create_symlink(tls_files_.key, folder / "server-key.pem");
  return tls_files_;
}

std::vector<std::string> Servers::tls_flags(std::uint16_t port) {
  const TlsFiles& files = tls_files();
  return {"--listen-tls", "127.0.0.1:" + std::to_string(port), "--tls-certificate", files.certificate, "--tls-key",
          files.key};
}

std::unique_ptr<Server> Servers::start_daemon(const std::string& name, const std::vector<std::string>& flags,
                                              unsigned poll_us, std::uint16_t tls_port) const {
  const Address address{free_port(), file(name + ".sock"), tls_port, tls_port == 0 ? "" : tls_files_.ca,
                        settings_.uri_keys};
  std::vector<std::string> arguments{
      program("pageserverd"), "--listen", "127.0.0.1:" + std::to_string(address.port), "--unix", address.socket_path,
      "--log-level",          "warn"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  arguments.insert(arguments.end(), {"--poll-us", std::to_string(poll_us)});
  return start_process(name, {arguments, address, make_page_protocol});
}

std::unique_ptr<Server> Servers::start_peer(const std::string& name, const std::string& image) const {
  if (find_program(name).empty()) throw NotAvailable(name + " is not installed");
  return start_process(name, launch_of(name, Transport::tcp, image, file(name + "-own")));
}

std::unique_ptr<Server> Servers::start_process(const std::string& name, const Launch& launch) const {
  std::filesystem::create_directories(settings_.folder);
  std::filesystem::remove(launch.address.socket_path);
  std::vector<std::string> pinned{"taskset", "-c", std::to_string(settings_.server_core)};
  pinned.insert(pinned.end(), launch.arguments.begin(), launch.arguments.end());
  auto process = std::make_unique<test::Process>(std::move(pinned));
  pid_t pid = process->pid();
  if (!launch.pid_file.empty()) {
    if (process->wait() != 0) throw std::runtime_error(name + " ended: " + process->err_so_far());
    wait_for([&] { return static_cast<bool>(std::ifstream(launch.pid_file) >> pid); }, name, nullptr);
  }
  auto server = std::make_unique<Server>(name, std::move(process), pid, launch.address, launch.protocol);
  wait_for([&] { return serves(launch.address); }, name, launch.pid_file.empty() ? &server->process() : nullptr);
  return server;
}

std::unique_ptr<Server> Servers::start_least(const std::string& name) const {
  const std::string image = make_image(name + ".img");
  Address address{0, file(name + ".sock")};
  auto process = std::make_unique<test::Process>(std::vector<std::string>{
      "taskset", "-c", std::to_string(settings_.server_core), program("pageserver_least"), image, address.socket_path});
  wait_for([&] { return process->out_so_far().find('\n') != std::string::npos; }, name, process.get());
  address.port = static_cast<std::uint16_t>(std::stoul(process->out_so_far()));
  const pid_t pid = process->pid();
  return std::make_unique<Server>(name, std::move(process), pid, address, [](bool) { return make_least_protocol(); });
}

std::string Servers::make_image(const std::string& name) const {
  std::filesystem::create_directories(settings_.folder);
  const std::string path = file(name);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), path);
  std::vector<std::byte> part(1u << 20);
  bool whole = true;
  for (std::uint64_t at = 0; whole && at < image_bytes; at += part.size()) {
    for (std::size_t i = 0; i < part.size(); ++i) part[i] = image_byte(at + i);
    whole = ::write(fd, part.data(), part.size()) == static_cast<ssize_t>(part.size());
  }
  // Else it would be written out while something is measured.
  whole = whole && ::fdatasync(fd) == 0;
  ::close(fd);
  if (!whole) throw std::runtime_error("can't write " + path);
  return path;
}

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::vector<std::string> missing_programs() {
  std::vector<std::string> names = nbd_peer_names();
  names.insert(names.end(), {"nbdcopy", "redis-server"});
  std::erase_if(names, [](const std::string& name) { return !find_program(name).empty(); });
  return names;
}

void pin_to(unsigned core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) throw std::system_error(errno, std::generic_category(), "pinning");
}

}  // namespace pageserver::bench
