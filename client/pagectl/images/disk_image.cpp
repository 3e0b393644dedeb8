#include "client/pagectl/images/disk_image.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <pageserver/error.hpp>

#include "base/bounds.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "client/pagectl/terminal/progress.hpp"
#include "storage/file/file_io.hpp"

namespace pageserver::pagectl {
namespace {

using Clock = std::chrono::steady_clock;

/// How often it is looked at who has an image open that is read.
constexpr std::chrono::seconds others_interval{1};

[[noreturn]] void fail_disk(const std::string& action, const std::string& uri, int error) {
  const std::string what = action + " " + storage::quoted(uri) + ": ";
  switch (error) {
    case EINVAL:
      throw MemoryError(Errc::invalid_argument, what +
                                                    "it is no path of an RBD image: expected "
                                                    "rbd:POOL/IMAGE[@SNAPSHOT][?conf=FILE&id=CLIENT&namespace=NAME]");
    case ENOENT:
      throw MemoryError(Errc::not_found, what + "there is no such image, snapshot, pool, namespace or configuration");
    case EEXIST: throw MemoryError(Errc::already_exists, what + "it is there; --force replaces it");
    case EBUSY: throw MemoryError(Errc::busy, what + "somebody has it open (rbd status says who); end that first");
    case ENOTEMPTY: throw MemoryError(Errc::unsupported, what + "it has snapshots; name another");
    case ENOSPC: throw MemoryError(Errc::no_space, what + "the pool is full; make room there");
    case EACCES:
    case EPERM:
      throw MemoryError(Errc::permission_denied,
                        what + "the cluster does not allow it; grant the client `profile rbd`");
    case ETIMEDOUT: throw MemoryError(Errc::timed_out, what + "the cluster does not answer; try again");
    case ELIBACC:
      throw MemoryError(Errc::unsupported,
                        what + "there is no module for RBD images; install the package pageserver-ceph");
    case ELIBBAD:
      throw MemoryError(Errc::unsupported,
                        what +
                            "the module for RBD images can't be loaded, or is of another release; install "
                            "the package pageserver-ceph of this one");
    default: throw MemoryError(Errc::provider_error, what + std::generic_category().message(error));
  }
}

storage::BlockImages& images_for(const std::string& uri) {
  storage::BlockImages* images = nullptr;
  if (const auto loaded = storage::load_block_images(images); !loaded.ok()) fail_disk("open", uri, loaded.error);
  return *images;
}

/// The path with another name of the image: `use(name)` of what stands between the pool and the keys.
template <class Use>
std::string with_disk_name(const std::string& uri, const Use& use) {
  const auto keys = std::min(uri.find('?'), uri.size());
  const auto slash = uri.rfind('/', keys);
  if (slash == std::string::npos) fail_disk("open", uri, EINVAL);
  return uri.substr(0, slash + 1) + use(uri.substr(slash + 1, keys - slash - 1)) + uri.substr(keys);
}

std::string disk_name(const std::string& uri) {
  std::string found;
  with_disk_name(uri, [&](const std::string& name) { return found = name; });
  return found;
}

// NAME.pagectl-NUMBER
std::string disk_prefix(const std::string& name) { return name + ".pagectl-"; }

/// What has ended, told by threads of the module. They may come late: it outlives the image.
struct EndedRequests {
  EndedRequests() : event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    if (event < 0) throw MemoryError(Errc::provider_error, "eventfd: " + std::generic_category().message(errno));
  }
  EndedRequests(const EndedRequests&) = delete;
  EndedRequests& operator=(const EndedRequests&) = delete;
  ~EndedRequests() { ::close(event); }

  void add(std::uint64_t request, int error) {
    {
      const Lock lock{mutex};
      requests.emplace_back(request, error);
    }
    const std::uint64_t one = 1;
    static_cast<void>(::write(event, &one, sizeof one));  // it can't be full
  }
  std::deque<std::pair<std::uint64_t, int>> take() {
    std::uint64_t count = 0;
    static_cast<void>(::read(event, &count, sizeof count));
    const Lock lock{mutex};
    return std::exchange(requests, {});
  }

  const int event;
  Mutex mutex;
  std::deque<std::pair<std::uint64_t, int>> requests PAGESERVER_GUARDED_BY(mutex);
};

class DiskImage final : public Image {
public:
  DiskImage(std::string name, std::unique_ptr<storage::BlockImage> image, bool can_change)
      : name_(std::move(name)), image_(std::move(image)), can_change_(can_change) {
    check("look at", image_->size(bytes_));
    look_for_others();
  }
  ~DiskImage() override {
    // Their buffers go.
    while (!pending_.empty()) {
      poll_event();
      for (const auto& [request, error] : ended_->take()) pending_.erase(request);
    }
  }

  const std::string& name() const override { return name_; }
  std::uint64_t pages() override { return bytes_ / page_size + (bytes_ % page_size != 0); }
  std::uint64_t grow(std::uint64_t new_pages) override {
    const std::uint64_t before = pages();
    if (new_pages > UINT64_MAX / page_size - before) fail_disk("grow", name_, EFBIG);
    check("grow", image_->resize((before + new_pages) * page_size));
    bytes_ = (before + new_pages) * page_size;
    return before;
  }

  void read(std::uint64_t offset, std::span<std::byte> buffer) override {
    blocking([&](Done done) { start_read(offset, buffer, std::move(done)); });
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) override {
    blocking([&](Done done) { start_write(offset, data, std::move(done)); });
  }
  void flush() override {
    while (has_pending()) wait();
    check("flush", image_->flush());
    is_flushed_ = true;
  }

  void start_read(std::uint64_t offset, std::span<std::byte> buffer, Done done) override {
    start("read", std::move(done), [&](storage::BlockImage::Done landed) {
      base::check_bounds("read", offset, buffer.size(), size_bytes());
      look_now_and_then();
      const std::uint64_t there = bytes_ > offset ? std::min<std::uint64_t>(buffer.size(), bytes_ - offset) : 0;
      const auto bytes = buffer.first(static_cast<std::size_t>(there));
      std::fill(buffer.begin() + static_cast<std::ptrdiff_t>(there), buffer.end(), std::byte{0});
      if (there == 0)
        landed(0);
      else
        image_->read(offset, bytes, std::move(landed));
    });
  }
  void start_write(std::uint64_t offset, std::span<const std::byte> data, Done done) override {
    start("write", std::move(done), [&](storage::BlockImage::Done landed) {
      base::check_bounds("write", offset, data.size(), size_bytes());
      image_->write(offset, data, std::move(landed));
    });
    is_flushed_ = false;
  }
  void start_zero(std::uint64_t offset, std::uint64_t length, Done done) override {
    run_inline(done, [&] {
      const std::vector<std::byte> zeros(page_size);
      for (std::uint64_t at = 0; at < length; at += page_size)
        write(offset + at, std::span(zeros).first(std::min<std::uint64_t>(length - at, page_size)));
    });
  }

  bool has_pending() const override { return !pending_.empty(); }
  void advance() override {
    for (const auto& [request, error] : ended_->take()) {
      const auto found = pending_.find(request);
      const auto [action, done] = std::move(found->second);
      pending_.erase(found);
      std::exception_ptr failed;
      try {
        check(action, error);
      } catch (const MemoryError&) {
        failed = std::current_exception();
      }
      done(failed);
    }
  }
  void wait() override {
    if (pending_.empty()) return;
    poll_event();
    advance();
  }
  Poll poll_request() const override { return {ended_->event, POLLIN, Clock::time_point::max()}; }

  FoundData find_data(std::uint64_t offset, std::uint64_t length) override {
    // As much as costs bounded memory, whatever is there.
    constexpr std::uint64_t at_once = 1ull << 30;
    look_now_and_then();
    if (!is_flushed_) flush();  // else it does not count
    length = std::min(length, at_once);
    FoundData found;
    found.described_until = offset + length;
    if (offset >= bytes_) return found;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    check("look at", image_->data_ranges(offset, std::min(length, bytes_ - offset), ranges));
    for (const auto& [at, bytes] : ranges) found.ranges.push_back({at, bytes});
    return found;
  }

  std::string why_unstable() override {
    if (can_change_ && others_.empty()) look_for_others();
    if (others_.empty()) return {};
    return "was open elsewhere (" + others_ + ") while it was read; copy a snapshot of it, rbd:POOL/IMAGE@SNAPSHOT";
  }
  bool is_stable() const override { return others_.empty(); }

private:
  struct Pending {
    const char* action;
    Done done;
  };

  void check(const char* action, int error) const {
    if (error != 0) fail_disk(action, name_, error);
  }

  /// A request that can't be begun ends at once, with the reason.
  template <class Begin>
  void start(const char* action, Done done, const Begin& begin) {
    const std::uint64_t request = ++last_request_;
    const auto pending = pending_.emplace(request, Pending{action, std::move(done)}).first;
    try {
      return begin([ended = ended_, request](int error) { ended->add(request, error); });
    } catch (const std::exception&) {
      const Done refused = std::move(pending->second.done);
      pending_.erase(pending);
      refused(std::current_exception());
    }
  }

  template <class Start>
  void blocking(const Start& start_one) {
    std::optional<std::exception_ptr> ended;
    start_one([&ended](const std::exception_ptr& error) { ended = error; });
    while (!ended) wait();
    if (*ended) std::rethrow_exception(*ended);
  }

  void poll_event() const {
    pollfd event{ended_->event, POLLIN, 0};
    if (::poll(&event, 1, -1) < 0 && errno != EINTR)
      throw MemoryError(Errc::provider_error, "poll: " + std::generic_category().message(errno));
  }

  void look_now_and_then() {
    if (can_change_ && others_.empty() && Clock::now() - looked_ >= others_interval) look_for_others();
  }
  void look_for_others() {
    looked_ = Clock::now();
    if (!can_change_) return;
    std::vector<std::string> found;
    check("look at", image_->others(found));
    for (const std::string& address : found) others_ += (others_.empty() ? "" : ", ") + address;
  }

  const std::string name_;
  const std::shared_ptr<EndedRequests> ended_ = std::make_shared<EndedRequests>();
  const std::unique_ptr<storage::BlockImage> image_;
  const bool can_change_;  ///< by others, while it is read
  std::uint64_t bytes_ = 0;
  bool is_flushed_ = true;
  std::uint64_t last_request_ = 0;
  std::map<std::uint64_t, Pending> pending_;
  Clock::time_point looked_;
  std::string others_;  ///< who had it open to write, as far as was seen
};

}  // namespace

std::unique_ptr<Image> open_disk_image(const std::string& uri) {
  int error = 0;
  auto image = images_for(uri).open_to_read(uri, error);
  if (!image) fail_disk("open", uri, error);
  const bool is_snapshot = disk_name(uri).find('@') != std::string::npos;
  std::uint64_t bytes = 0;
  if (image->size(bytes) == 0 && bytes % page_size != 0)
    complain("warning: " + uri + " has size=" + std::to_string(bytes) + ", which is no multiple of " +
             std::to_string(page_size) + ": " + std::to_string(page_size - bytes % page_size) +
             " zeros fill up the last page");
  return std::make_unique<DiskImage>(uri, std::move(image), !is_snapshot);
}

ReplacementDisk::ReplacementDisk(const std::string& uri, bool overwrite)
    : target_(uri), overwrite_(overwrite), images_(images_for(uri)) {
  check_target();
  remove_leftovers();
  temporary_ = with_disk_name(target_, [](const std::string& name) {
    return disk_prefix(name) + std::to_string(base::random_number() % 1'000'000'000);
  });
  int error = 0;
  auto image = images_.make(temporary_, error);
  if (!image) fail_disk("create", target_, error);
  image_ = std::make_unique<DiskImage>(target_, std::move(image), false);
}

ReplacementDisk::~ReplacementDisk() {
  if (replaced_) return;
  image_.reset();
  static_cast<void>(images_.remove(temporary_));
}

void ReplacementDisk::check_target() const {
  const int error = images_.removable(target_);
  if (disk_name(target_).find('@') != std::string::npos)
    throw MemoryError(Errc::unsupported, "write " + storage::quoted(target_) + ": a snapshot is never written");
  if (error == ENOENT) return;
  if (error == 0 && !overwrite_) fail_disk("write", target_, EEXIST);
  if (error != 0) fail_disk("replace", target_, error);
}

// What killed copies to this target left: whoever still writes has it open.
void ReplacementDisk::remove_leftovers() const {
  std::vector<std::string> names;
  if (images_.names(target_, names) != 0) return;
  const std::string prefix = disk_prefix(disk_name(target_));
  for (const std::string& name : names) {
    if (!name.starts_with(prefix) || name.find_first_not_of("0123456789", prefix.size()) != std::string::npos) continue;
    const std::string left = with_disk_name(target_, [&](const std::string&) { return name; });
    if (images_.removable(left) == 0) static_cast<void>(images_.remove(left));
  }
}

void ReplacementDisk::replace_target() {
  check_target();
  if (overwrite_)
    if (const int error = images_.remove(target_); error != 0 && error != ENOENT) fail_disk("replace", target_, error);
  if (const int error = images_.rename(temporary_, disk_name(target_)); error != 0) fail_disk("name", target_, error);
  replaced_ = true;
}

}  // namespace pageserver::pagectl
