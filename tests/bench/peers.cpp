#include "tests/bench/peers.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace pageserver::bench {
namespace {

std::unique_ptr<Protocol> nbd(bool) { return make_nbd_protocol(); }
std::unique_ptr<Protocol> redis(bool) { return make_redis_protocol(); }

// A listener in the words of each program.
using Words = std::vector<std::string>;
Words listener(const Address& address, const Words& tcp, const Words& local) {
  Words words = address.port != 0 ? tcp : local;
  words.push_back(address.port != 0 ? std::to_string(address.port) : address.socket_path);
  return words;
}

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words nbd_server(const Address& address, const std::string& image, const std::string& base) {
  // It has no way to listen on a Unix socket only.
  const std::uint16_t port = address.port != 0 ? address.port : free_port();
  std::ofstream config(base + ".conf");
  config << "[generic]\nlistenaddr = 127.0.0.1\nport = " << port << "\n";
  if (!address.socket_path.empty()) config << "unixsock = " << address.socket_path << "\n";
  config << "[bench]\nexportname = " << image << "\n";
  // In the foreground it would serve one connection and end.
  return {"nbd-server", "-C", base + ".conf", "-p", base + ".pid"};
}

}  // namespace

const std::vector<std::string>& nbd_peer_names() {
  static const std::vector<std::string> names{"nbdkit", "qemu-nbd", "nbd-server"};
  return names;
}

Launch launch_of(const std::string& name, Transport transport, const std::string& image, const std::string& base) {
  Address address;
  if (transport == Transport::tcp)
    address.port = free_port();
  else
    address.socket_path = base + ".sock";
  if (name == "nbdkit") {
    const Words where = listener(address, {"-i", "127.0.0.1", "-p"}, {"-U"});
    return {joined(joined({"nbdkit", "-f"}, where), {"file", image}), address, nbd};
  }
  if (name == "qemu-nbd") {
    const Words where = listener(address, {"--bind", "127.0.0.1", "--port"}, {"--socket"});
    return {joined(joined({"qemu-nbd", "--persistent", "--shared", "16", "--format", "raw", "--export-name", "bench"},
                          where),
                   {image}),
            address, nbd};
  }
  if (name == "nbd-server") return {nbd_server(address, image, base), address, nbd, base + ".pid"};
  if (name == "redis-server") {
    const Words where = listener(address, {"--port"}, {"--port", "0", "--unixsocket"});
    const Words rest{"--bind",       "127.0.0.1", "--save", "",
                     "--appendonly", "no",        "--dir",  std::filesystem::path(base).parent_path().string(),
                     "--loglevel",   "warning"};
    return {joined(joined({"redis-server"}, where), rest), address, redis};
  }
  throw std::logic_error("no peer is called " + name);
}

Launch tls_launch_of(const std::string& name, const TlsFiles& files, const std::string& image,
                     const std::string& base) {
  const Address address{0, {}, free_port(), files.ca};
  const std::string port = std::to_string(address.tls_port);
  if (name == "nbdkit") {
    return {{"nbdkit", "-f", "-i", "127.0.0.1", "-p", port, "--tls=require",
             "--tls-certificates=" + files.nbdkit_folder, "file", image},
            address,
            [ca = files.ca](bool) { return make_nbd_protocol(ca); }};
  }
  if (name == "redis-server") {
    return {{"redis-server",
             "--port",
             "0",
             "--tls-port",
             port,
             "--tls-cert-file",
             files.certificate,
             "--tls-key-file",
             files.key,
             "--tls-ca-cert-file",
             files.ca,
             "--tls-auth-clients",
             "no",
             "--bind",
             "127.0.0.1",
             "--save",
             "",
             "--appendonly",
             "no",
             "--dir",
             std::filesystem::path(base).parent_path().string(),
             "--loglevel",
             "warning"},
            address,
            redis};
  }
  throw std::logic_error("no peer with TLS is called " + name);
}

}  // namespace pageserver::bench
