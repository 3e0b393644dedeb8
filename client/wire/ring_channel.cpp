#include "client/wire/ring_channel.hpp"

#include <utility>

namespace pageserver::client {

std::unique_ptr<RingChannel> RingChannel::make(int socket, UniqueFd& descriptor) {
  auto made = ring::make_memory(direction_bytes);
  if (!made.memory) return nullptr;
  descriptor = std::move(made.descriptor);
  return std::make_unique<RingChannel>(std::move(made.memory), socket);
}

}  // namespace pageserver::client
