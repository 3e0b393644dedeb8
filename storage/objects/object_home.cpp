// What an object file system says of a file's home: who has it, and what can be done about that.
#include <cerrno>
#include <utility>

#include "base/home_paths.hpp"
#include "storage/objects/object_answer.hpp"
#include "storage/objects/object_file_system.hpp"
#include "storage/objects/take_over.hpp"

namespace pageserver::storage {

class ObjectFileSystem::Control final : public HomeControl {
public:
  Control(ObjectFileSystem& files, FolderRef folder, FileRef file, ObjectOwnerRef owner)
      : files_{files},
        folder_{std::move(folder)},
        object_{lock_object(file->number())},
        file_{std::move(file)},
        owner_{std::move(owner)} {}

  int holder(std::string& holder) override {
    return answered([&]() -> IoResult {
             std::vector<ObjectHolder> holders;
             const int error = look(holders);
             holder = holders.empty() ? std::string{} : shown_cookie(holders.front().cookie);
             return error_result(error);
           })
        .error;
  }
  void ask(const std::string& who) override {
    static_cast<void>(answered([&]() -> IoResult {
      folder_->pool->tell(object_, std::string{lock_wanted} + who);
      return {};
    }));
  }
  int break_lock() override {
    return answered([&]() -> IoResult {
             std::vector<ObjectHolder> holders;
             int error = look(holders);
             for (const ObjectHolder& holder : holders)
               if (error == 0 || error == ENOENT) error = folder_->pool->break_lock(object_, holder);
             return error_result(error == ENOENT ? 0 : error);
           })
        .error;
  }
  int give_up(const std::string& why) override {
    if (!owner_) return EBADF;
    return answered([&] { return error_result(files_.give_up(folder_, owner_, why)); }).error;
  }
  void keep_in_memory(base::MemoryShare& share) override {
    if (owner_ && owner_->exclusive) file_->begin_cache(share);
  }
  void will_read(std::span<const FileRange> ranges) noexcept override {
    static_cast<void>(answered([&]() -> IoResult {
      if (files_.in_our_process()) file_->will_read(ranges);
      return {};
    }));
  }
  std::shared_ptr<void> watch(std::function<void()> changed) override {
    std::shared_ptr<void> watch;
    static_cast<void>(answered([&]() -> IoResult {
      watch = folder_->pool->watch(object_, [changed = std::move(changed)](const std::string& message) {
        if (message == lock_free) changed();
      });
      return {};
    }));
    return watch;
  }
  std::string health(std::chrono::milliseconds time) override {
    std::string health;
    static_cast<void>(answered([&]() -> IoResult {
      if (files_.in_our_process()) health = folder_->pool->health(time);
      return {};
    }));
    return health;
  }

private:
  int look(std::vector<ObjectHolder>& holders) {
    if (!files_.in_our_process()) return ENOTCONN;
    const int error = folder_->pool->holders(object_, holders);
    if (error == ENOENT) holders.clear();
    return error == ENOENT ? 0 : error;
  }

  ObjectFileSystem& files_;
  const FolderRef folder_;
  const std::string object_;
  const FileRef file_;
  const ObjectOwnerRef owner_;
};

IoResult ObjectFileSystem::home_of(int file, FileHome& home) {
  return answered([&]() -> IoResult {
    const auto one = opened(file);
    if (!one || !one->file) return error_result(EBADF);
    home = {};
    const PoolName& pool = one->folder->pool_name;
    home.name = std::string{base::home_prefix} + pool.pool + "/" + one->file->name() +
                (pool.name_space.empty() ? "" : "?namespace=" + pool.name_space);
    if (one->owner) home.lease = one->owner->lease;
    if (one->owner) home.epoch = one->owner->epoch;
    home.control = std::make_shared<Control>(*this, one->folder, one->file, one->owner);
    std::vector<ObjectHolder> holders;
    if (one->owner)
      home.holder = shown_cookie(one->owner->cookie);
    else if (one->folder->pool->holders(lock_object(one->file->number()), holders) == 0 && !holders.empty())
      home.holder = shown_cookie(holders.front().cookie) + " (" + holders.front().client + ")";
    return {};
  });
}

}  // namespace pageserver::storage
