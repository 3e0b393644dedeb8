// FUSE: the kernel's requests for one file, answered from a mounted image.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "client/pagectl/mount/mounted_image.hpp"

namespace pageserver::pagectl {

struct FuseOptions {
  std::string file;                         ///< where: absolute
  std::string source;                       ///< what `mount` and `df` call it
  std::vector<std::string> kernel_options;  ///< further options of the mount
  bool allow_other = false;
  bool direct_io = false;  ///< of a writer or a fork: nothing is kept by the kernel
  /// Of a writer or a fork that nobody sees before a flush: the kernel gathers writes, and brings them before the
  /// flush.
  bool gathers_writes = false;
  bool publishes_whole = false;  ///< what was written is seen by nobody, or all of it at a flush
  bool flush_at_close = false;
  std::chrono::milliseconds flush_every{0};         ///< 0: never
  std::chrono::milliseconds attributes_timeout{0};  ///< of a live image
  unsigned threads = 0;                             ///< that answer; 0: by the number of processors
};

/// How a mount ended.
enum class MountEnd : std::uint8_t {
  unmounted,  ///< from outside, or asked for
  lost,       ///< the image was; every open handle has been closed since
};

/// Mounts `image` and serves it until it is unmounted, stop_mount() is called, or the image is lost and no program has
/// it open. Then the kernel asks nothing more; what it had answered is not flushed. Calls `ready` once programs find
/// the file. Throws MemoryError where it can't be mounted.
MountEnd serve_mount(MountedImage& image, const FuseOptions& options, const std::function<void()>& ready);

/// Makes serve_mount() end: what programs have mapped and changed goes to the image first. From any thread.
void stop_mount();

/// Empty where this build and this machine can mount; else why not, in one sentence.
std::string why_no_mount();

}  // namespace pageserver::pagectl
