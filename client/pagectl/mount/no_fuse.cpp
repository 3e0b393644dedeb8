// In place of fuse_server.cpp where libfuse3 was not there when this was built.
#include <pageserver/error.hpp>

#include "client/pagectl/mount/fuse_server.hpp"

namespace pageserver::pagectl {

std::string why_no_mount() {
  return "this pagectl was built without libfuse3; build it where libfuse3-dev is installed, or use nbdkit's plugin "
         "pageserver or `pagectl copy`";
}

MountEnd serve_mount(MountedImage&, const FuseOptions&, const std::function<void()>&) {
  throw MemoryError(Errc::unsupported, "mount: " + why_no_mount());
}

void stop_mount() {}

}  // namespace pageserver::pagectl
