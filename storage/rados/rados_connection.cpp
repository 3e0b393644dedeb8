#include "storage/rados/rados_connection.hpp"

#include <pthread.h>
#include <signal.h>

namespace pageserver::storage {
namespace {

constexpr const char* connect_timeout_s = "10";

int connect_blocked(const PoolName& name, rados_t& connected) {
  rados_t cluster = nullptr;
  int result = rados_create(&cluster, name.client.empty() ? nullptr : name.client.c_str());
  if (result < 0) return result;
  // Whatever the file says.
  rados_conf_set(cluster, "client_mount_timeout", connect_timeout_s);
  rados_conf_set(cluster, "ms_async_op_threads", "1");
  result = rados_conf_read_file(cluster, name.configuration.empty() ? nullptr : name.configuration.c_str());
  // An operation that is given up may still be carried out: so none is.
  rados_conf_set(cluster, "rados_osd_op_timeout", "0");
  // Nor may a call wait before it hands an operation over, since all stores share the connection: ObjectRoom bounds
  // what is under way. 0: no bound here.
  rados_conf_set(cluster, "objecter_inflight_ops", "0");
  rados_conf_set(cluster, "objecter_inflight_op_bytes", "0");
  rados_conf_set(cluster, "log_to_stderr", "false");
  rados_conf_set(cluster, "err_to_stderr", "false");
  if (result == 0) result = rados_connect(cluster);
  if (result < 0)
    rados_shutdown(cluster);
  else
    connected = cluster;
  return result;
}

}  // namespace

// Signals are blocked meanwhile: the threads that librados begins inherit that, and the daemon's own hear them.
int connect_rados(const PoolName& name, rados_t& connected) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int result = connect_blocked(name, connected);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result < 0 ? -result : 0;
}

}  // namespace pageserver::storage
