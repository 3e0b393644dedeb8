// What a thread needs to serve connections. Made before the thread begins: a thread that can't get it while it serves
// would end the daemon, since the language's own thread-local objects abort the program when memory is out.
#pragma once

#include <cstddef>
#include <memory>

namespace pageserver::server {

struct ThreadRoom;

struct DeleteThreadRoom {
  void operator()(ThreadRoom* room) const noexcept;
};

using ThreadRoomPtr = std::unique_ptr<ThreadRoom, DeleteThreadRoom>;

ThreadRoomPtr make_thread_room();

/// While it lives, connections that this thread serves use `room`.
class UsedThreadRoom {
public:
  explicit UsedThreadRoom(ThreadRoom& room) noexcept;
  UsedThreadRoom(const UsedThreadRoom&) = delete;
  UsedThreadRoom& operator=(const UsedThreadRoom&) = delete;
  ~UsedThreadRoom();

private:
  ThreadRoom* before_;
};

}  // namespace pageserver::server
