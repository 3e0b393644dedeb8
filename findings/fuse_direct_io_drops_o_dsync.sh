#!/bin/bash
# Finding: on a FUSE file with direct_io a synchronous write is not followed by a sync.
#
# Expected: write() through a descriptor with O_DSYNC or O_SYNC, and pwritev2 with RWF_DSYNC, reach the file system as WRITE
#           and FSYNC whatever the caching mode is; a failing FSYNC fails the write.
# Seen: without direct_io it is so. With direct_io the kernel sends the WRITE alone and reports success, although each FSYNC
#       would fail with EIO. The one sign is O_DSYNC among the flags that come with the WRITE. A file system that serves
#       direct_io has to look there, or a database that opens its file with O_DSYNC has no durability.
# Versions: Linux 6.18 (the kernel decides), libfuse 3.14.0-4 of Debian 12. Needs root and /dev/fuse.
# Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ]; then echo "needs root and /dev/fuse"; exit 1; fi
work=$(mktemp -d)
trap 'umount "$work/mount" 2>/dev/null || :; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q libfuse3-3=3.14.0-4 libfuse3-dev=3.14.0-4 >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" root; done
cat >probe.c <<'C'
#define FUSE_USE_VERSION 35
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int direct;
static volatile int writes, writes_with_dsync, syncs;

static int get_attributes(const char* path, struct stat* st, struct fuse_file_info* fi) {
  (void)fi;
  memset(st, 0, sizeof *st);
  st->st_mode = strcmp(path, "/") ? S_IFREG | 0600 : S_IFDIR | 0700;
  st->st_nlink = 1;
  st->st_size = strcmp(path, "/") ? 65536 : 0;
  return strcmp(path, "/") && strcmp(path, "/image") ? -ENOENT : 0;
}
static int open_file(const char* path, struct fuse_file_info* fi) {
  (void)path;
  fi->direct_io = direct;
  return 0;
}
static int read_bytes(const char* path, char* data, size_t size, off_t at, struct fuse_file_info* fi) {
  (void)path, (void)at, (void)fi;
  memset(data, 0, size);
  return (int)size;
}
static int write_bytes(const char* path, const char* data, size_t size, off_t at, struct fuse_file_info* fi) {
  (void)path, (void)data, (void)at;
  writes++;
  if (fi->flags & O_DSYNC) writes_with_dsync++;
  return (int)size;
}
static int sync_file(const char* path, int data_only, struct fuse_file_info* fi) {
  (void)path, (void)data_only, (void)fi;
  syncs++;
  return -EIO;
}
static const struct fuse_operations operations = {
    .getattr = get_attributes, .open = open_file, .read = read_bytes, .write = write_bytes, .fsync = sync_file};

static void* serve(void* fuse) {
  fuse_loop(fuse);
  return NULL;
}

int main(int argc, char** argv) {
  char* arguments[] = {argv[0], NULL};
  struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
  direct = argc > 2;
  struct fuse* fuse = fuse_new(&args, &operations, sizeof operations, NULL);
  if (!fuse || fuse_mount(fuse, argv[1])) return 2;
  pthread_t thread;
  pthread_create(&thread, NULL, serve, fuse);
  char path[4096], block[4096] = "x";
  snprintf(path, sizeof path, "%s/image", argv[1]);
  int failed = 0;
  const int flags[] = {O_DSYNC, O_SYNC};
  for (int i = 0; i < 2; i++) {
    int fd = open(path, O_WRONLY | flags[i]);
    if (fd < 0) return 3;
    failed += pwrite(fd, block, sizeof block, 0) < 0;
    close(fd);
  }
  int fd = open(path, O_WRONLY);
  struct iovec part = {block, sizeof block};
  failed += pwritev2(fd, &part, 1, 0, RWF_DSYNC) < 0;
  close(fd);
  printf("%s: 3 synchronous writes: %d WRITE, %d of them with O_DSYNC, %d FSYNC, %d calls failed\n",
         direct ? "direct_io" : "buffered", writes, writes_with_dsync, syncs, failed);
  fflush(stdout);
  int as_stated = direct ? syncs == 0 && failed == 0 && writes_with_dsync == 3 : syncs == 3 && failed == 3;
  fuse_unmount(fuse);
  pthread_join(thread, NULL);
  return as_stated ? 0 : 1;
}
C
lib=$(echo root/lib/*/ | awk '{ print $1 }')
gcc -O1 -Wall -Iroot/usr/include/fuse3 -o probe probe.c -L"$lib" -l:libfuse3.so.3 -pthread
mkdir mount
status=0
for mode in '' direct_io; do
  # shellcheck disable=SC2086 # no argument where it is empty
  LD_LIBRARY_PATH=$lib timeout 60 ./probe "$work/mount" $mode || status=1
done
exit "$status"
