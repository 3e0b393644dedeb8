/*
 * The C interface of pageserver: images of 64 KiB pages in memory, in a file, behind a daemon, or in an engine of the
 * program's own process. Link libpageserver.so.1 (pkg-config: pageserver). C89 and later, and C++.
 *
 *     ps_error error = PS_ERROR_INIT;
 *     ps_session* session = NULL;
 *     if (ps_session_open("pageserver://127.0.0.1/demo", NULL, &session, &error) != PS_OK) {
 *       fprintf(stderr, "%s\n", error.text);
 *       return 1;
 *     }
 *     ps_session_write(session, 70000, "hello", 5, &error);
 *     ps_session_flush(session, &error);
 *     ps_session_close(session);
 *
 * Codes: a function that can fail returns PS_OK or one of the codes below. Where `error` is not NULL and the call fails
 * the caller's struct gets the code and a text for people: action, object, numbers, remedy. A call that succeeds leaves
 * it as it was. No error is kept anywhere else, no exception passes, and a call that fails sets no result.
 *
 * Handles: each is closed or freed by the function beside it, NULL included, by any thread and in any order: nothing
 * that the library hands out needs another handle to live. No other call may be inside or begin with a handle that is
 * being closed. In a child after fork(2) every call on a session of the parent's answers PS_CONNECTION_LOST (images of
 * `heap:` are the child's own copy), and closing one there leaves the parent's alone.
 *
 * Threads: ps_session and ps_daemon may be used by any number of threads at once; ps_async by one at a time. A thread
 * inside a call must not be cancelled (pthread_cancel), and a callback must neither throw nor longjmp() out.
 *
 * What may change: names, values, and meanings stay for all libpageserver.so.1. Structs that begin with `size` may grow
 * at their end. The caller sets `size` in those that it owns, and a library that is older or newer then uses the part
 * that both know; in those that the library hands out, it says how much of it there is. New codes may come: treat one
 * that you don't know as PS_PROVIDER_ERROR.
 *
 * A NULL where the text does not allow one is PS_INVALID_ARGUMENT.
 */
#ifndef PAGESERVER_PAGESERVER_H
#define PAGESERVER_PAGESERVER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PS_API __attribute__((visibility("default")))
#else
#define PS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header: major * 1000000 + minor * 1000 + patch, and as ps_version() spells it. */
#define PS_VERSION_NUMBER 1000
#define PS_VERSION "0.1.0"

/* The version of the library that runs, such as "0.1.0". Never NULL. */
PS_API const char* ps_version(void);

/* Bytes in a page. */
#define PS_PAGE_BYTES 65536u

/* ---- codes and errors ---- */

enum {
  PS_OK = 0,
  PS_OUT_OF_BOUNDS = 1,      /* offset and length leave the image */
  PS_PROVIDER_ERROR = 2,     /* the medium failed, or the file is not an image */
  PS_BUSY = 3,               /* someone else holds the file or the writer lease; the text says who */
  PS_LEASE_LOST = 4,         /* this session was the writer and is no longer; what is private is dropped */
  PS_READ_ONLY = 5,          /* the session or the store may not be written */
  PS_SNAPSHOT_TOO_OLD = 6,   /* the version that this session holds was given up to keep within a bound */
  PS_NO_SPACE = 7,           /* the disk or a quota is full */
  PS_LIMIT_EXCEEDED = 8,     /* a configured limit; the text names it */
  PS_NOT_FOUND = 9,          /* no such store or file */
  PS_ALREADY_EXISTS = 10,    /* a store or file of that name is there */
  PS_PROTOCOL_ERROR = 11,    /* the peer does not speak the protocol; ends the handle */
  PS_CONNECTION_LOST = 12,   /* ends the handle: what was not answered may or may not have been applied */
  PS_TIMED_OUT = 13,         /* ends the handle when a request timed out */
  PS_UNSUPPORTED = 14,       /* the peer, the store, the image or this build can't do that */
  PS_INVALID_ARGUMENT = 15,  /* a usage error, such as a malformed URI */
  PS_PERMISSION_DENIED = 16, /* the system or the daemon's configuration forbids it */
  PS_DAMAGED = 17,           /* a log or an image is not what it should be; nothing was changed */
  PS_NO_MEMORY =
      1000 /* this process has no memory left; the call may or may not have taken effect, or ended the handle */
};

/* Once a handle has ended, every call on it answers the same code and text: it never connects again by itself. */

#define PS_ERROR_TEXT_BYTES 1024

/* Owned by the caller, on the stack as well. */
typedef struct ps_error {
  size_t size;                    /* sizeof(ps_error); more makes room for a longer text */
  int code;                       /* what the call returned */
  char text[PS_ERROR_TEXT_BYTES]; /* UTF-8 that ends in a zero byte; cut, at a character's end, where it is longer */
} ps_error;
/* ps_error error = PS_ERROR_INIT; */
#define PS_ERROR_INIT \
  { sizeof(ps_error), 0, "" }

/* The name of a code without its prefix, in small letters, such as "out_of_bounds". Never NULL. */
PS_API const char* ps_code_name(int code);

/* ---- options ---- */

enum { PS_ACCESS_READ = 1, PS_ACCESS_WRITE = 2, PS_ACCESS_FORK = 3 };
enum { PS_VIEW_LIVE = 1, PS_VIEW_PINNED = 2 };
enum { PS_PUBLISH_ON_WRITE = 1, PS_PUBLISH_ON_FLUSH = 2 };
enum { PS_POLL_OFF = -1 };
#define PS_CACHE_OFF UINT64_MAX
enum { PS_NO_TIMEOUT = -1 };

/*
 * What a URI can say, for programs that would rather not write it into one, and what it can't. Everything that is 0 or
 * NULL is as the URI says, so that PS_OPTIONS_INIT changes nothing; what is given here wins over the URI. What the
 * URI's scheme knows no key for is PS_INVALID_ARGUMENT. Texts are used until the call returns.
 */
typedef struct ps_options {
  size_t size;                /* sizeof(ps_options) */
  int access;                 /* PS_ACCESS_..., write where the URI says nothing either */
  int view;                   /* PS_VIEW_..., for readers; live */
  int publish;                /* PS_PUBLISH_..., for writers; on_write */
  uint32_t wait_ms;           /* how long to wait in line for the writer lease */
  const char* name;           /* what the session calls itself towards others */
  const char* client_name;    /* program and version, for the daemon's log */
  int64_t connect_timeout_ms; /* name resolution, all addresses, hello and open together; PS_NO_TIMEOUT */
  int64_t request_timeout_ms; /* one request; PS_NO_TIMEOUT */
  int32_t poll_us;            /* how long a call looks for its answer before it sleeps, at most 1000; PS_POLL_OFF */
  uint64_t cache_bytes;       /* memory for a cache of pages; PS_CACHE_OFF */
  /* Who the client is, for a daemon that gives rights by it. A token is sent only over TLS, a Unix socket or to this
   * machine's loopback: elsewhere PS_PERMISSION_DENIED. Without one here or in the URI the environment's
   * PAGESERVER_TOKEN is taken. */
  const char* token;      /* the token itself; wins over a file */
  const char* token_file; /* readable by its owner alone (and a group) */
  /* For pageservers:// only: PEM files, and a name. */
  const char* tls_ca;          /* authorities to believe; those of the system */
  const char* tls_certificate; /* for a daemon that wants one of its clients; needs tls_key */
  const char* tls_key;         /* its private key, readable by its owner alone (and a group) */
  const char* tls_name;        /* that the daemon's certificate has to have; the URI's host */
} ps_options;
/* ps_options options = PS_OPTIONS_INIT; */
#define PS_OPTIONS_INIT \
  { sizeof(ps_options), 0, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL }

/* ---- what calls answer ---- */

/* A published state of a store. Numbers grow within an incarnation; those of two incarnations say nothing of each
 * other. */
typedef struct ps_image_version {
  uint64_t incarnation;
  uint64_t number;
} ps_image_version;

typedef struct ps_range {
  uint64_t offset; /* in bytes */
  uint64_t length;
} ps_range;

typedef struct ps_ranges {
  size_t size;
  uint64_t described_until; /* what `ranges` leaves out of the part up to here is zero */
  size_t count;
  const ps_range* ranges; /* in rising order, not overlapping */
} ps_ranges;
PS_API void ps_ranges_free(const ps_ranges* ranges);

typedef struct ps_refreshed {
  size_t size;
  ps_image_version version; /* the version that the session sees from now on */
  uint64_t pages;           /* its size */
  int everything;           /* not 0: assume that every byte changed; `count` is 0 then */
  size_t count;
  const ps_range* changed; /* what differs from the version seen before, in rising order, not overlapping */
} ps_refreshed;
PS_API void ps_refreshed_free(const ps_refreshed* refreshed);

/* A session that holds the writer lease, or holds back an old version. */
typedef struct ps_holder {
  size_t size;
  const char* name;        /* what the session called itself, may be "" */
  const char* address;     /* where it comes from: "127.0.0.1:40312", "unix", "pid 4711" */
  int64_t since_unix_ms;   /* when it became the holder: milliseconds since 1970-01-01 UTC */
  uint64_t idle_ms;        /* since its last request */
  uint64_t epoch;          /* a writer's lease epoch; 0 for others */
  int access;              /* PS_ACCESS_... */
  int view;                /* PS_VIEW_... */
  int publish;             /* PS_PUBLISH_... */
  uint64_t version_number; /* the version that it holds; 0 for a writer */
} ps_holder;
PS_API void ps_holder_free(const ps_holder* holder);

/* What an opening of a store found beside the image: a log that a kill or a loss of power had left, and replayed. */
typedef struct ps_recovery {
  size_t size;
  int64_t unix_ms;               /* when it was done: milliseconds since 1970-01-01 UTC */
  uint64_t log_bytes;            /* of the log that was found */
  uint64_t log_files;            /* of it, that counted */
  uint64_t records;              /* publishes that were replayed */
  uint64_t pages;                /* of the image after that */
  uint64_t dropped_files;        /* of the log, behind the last publish that counted */
  uint64_t dropped_records;      /* whole publishes there, which could not be replayed */
  uint64_t kept_count;           /* files of the log that were kept under another name */
  size_t count;                  /* of `kept_files`; may be less than `kept_count`, and is 0 in a list */
  const char* const* kept_files; /* their names, in the image's folder */
  int warned;                    /* not 0: more than a torn end was dropped */
  const char* warning;           /* why, and what a person can do; "" without one, and in a list */
} ps_recovery;

/* What waits at a daemon, and what hangs: of the daemon as a whole, and of one store. Work for a disk is stuck when it
 * has gone on for 100 milliseconds without an end. */
typedef struct ps_load {
  size_t size;
  uint64_t connections;         /* of the daemon, whatever they do */
  uint64_t directory_requests;  /* of the daemon: requests that wait for the directory of its stores */
  uint64_t disk_calls_waiting;  /* of the daemon: work for disks that waits for a thread */
  uint64_t disk_calls_running;  /* of the daemon: work for disks that has one */
  uint64_t disk_threads_max;    /* of the daemon: so many threads for that there may be */
  uint64_t store_calls_waiting; /* of the store: work for its disk that waits, for whatever reason */
  uint64_t store_calls_stuck;   /* of the store: work for its disk that is stuck */
  uint64_t stuck_ms;            /* for how long the oldest of these has been; 0 without one */
} ps_load;
PS_API void ps_load_free(const ps_load* load);

/* Where an image lies, and who may change it there. */
typedef struct ps_home {
  size_t size;
  const char* name;   /* "file", or where other machines reach it, too: "ceph:POOL/NAME" */
  const char* holder; /* for people: who owns it there, and since when; "" for a file */
  const char* health; /* for people: what the home says of itself; "" for a file, or while that is not known */
  uint64_t epoch;     /* of the owner, grows with each; 0: there is none, or the image is open for reading only */
} ps_home;

/* A report on one store. Its numbers belong to nearly the same moment. */
typedef struct ps_stat {
  size_t size;
  const char* store; /* its name; of an embedded store its path */
  uint64_t pages;    /* of the newest published version */
  ps_image_version version;
  int read_only;           /* not 0: nobody may write */
  const ps_holder* writer; /* NULL: nobody */
  uint64_t writers_waiting;
  uint64_t sessions_live; /* readers of the newest version */
  uint64_t sessions_pinned;
  uint64_t sessions_write; /* 0 or 1 */
  uint64_t sessions_fork;
  const ps_holder* oldest_holder; /* of pins and forks; NULL: there are none */
  uint64_t size_bytes_max;        /* the limit that a grow meets */
  uint64_t log_bytes;             /* redo log beside the image */
  uint64_t checkpoint_lag_bytes;  /* of them, not yet copied into the image */
  uint64_t held_bytes;            /* log, and memory to find it, kept only for pins and forks */
  uint64_t fork_bytes;            /* private bytes of all forks */
  const char* last_sync_error;    /* "" when every sync went well */
  const char* image_warning;      /* "" unless the image was touched from outside */
  const ps_load* load;            /* NULL: from an older daemon, or without one */
  const ps_recovery* recovery;    /* the last one since the daemon, or this program, began; NULL: there was none */
  const ps_home* home;            /* NULL: from an older daemon */
} ps_stat;
PS_API void ps_stat_free(const ps_stat* stat);

/* What a session has cost so far. Owned by the caller, who sets `size`. */
typedef struct ps_traffic {
  size_t size;
  uint64_t requests;
  uint64_t round_trips;
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t cache_hits;   /* pages that a read found in the cache */
  uint64_t cache_misses; /* pages fetched because a call needed them */
  uint64_t pages_read_ahead;
  uint64_t cache_bytes; /* memory that the cache's pages take now */
  uint64_t cache_bytes_peak;
} ps_traffic;

/* ---- a session that blocks ---- */

/* An image: pages of PS_PAGE_BYTES, addressed by byte offset. A call that fails has changed nothing that a later read
 * could see, unless its code ends the handle. */
typedef struct ps_session ps_session;

/*
 * Opens what `uri` names (docs/uris.md):
 *
 *     pageserver://HOST[:PORT]/STORE[?access=read|write|fork&view=live|pinned&publish=on_write|on_flush&wait_ms=N&...]
 *     pageservers://HOST[:PORT]/STORE[?tls_ca=PATH&tls_certificate=PATH&tls_key=PATH&tls_name=NAME&...]    TLS
 *     pageserver+unix:///STORE?socket=PATH[&...]
 *     file:PATH[?access=read|write]     a path without a scheme is the same
 *     heap:                             an empty image in this process
 *     store:PATH[?access=...]           the store engine in this process
 *
 * `options` may be NULL. On success *session is a session, else NULL.
 */
PS_API int ps_session_open(const char* uri, const ps_options* options, ps_session** session, ps_error* error);
/* Ends the session: what was not flushed of an on_flush transaction is dropped, the lease is free. Waits at most a
 * second for the daemon's word, and says nothing of what goes wrong. NULL is fine. */
PS_API void ps_session_close(ps_session* session);
/* Ends the session as ps_session_close(), which still has to free the handle, and says how it went: on PS_OK the file,
 * or the lease, is free for others. Flushes nothing. Waits for the daemon for request_timeout. Whatever it answers, the
 * session is over: every later call but this one, which then does nothing, is PS_INVALID_ARGUMENT. No other call may be
 * inside. */
PS_API int ps_session_end(ps_session* session, ps_error* error);

PS_API int ps_session_size(ps_session* session, uint64_t* bytes, ps_error* error);
PS_API int ps_session_pages(ps_session* session, uint64_t* pages, ps_error* error);
/* Appends pages of zeros. `previous_pages` may be NULL. */
PS_API int ps_session_grow(ps_session* session, uint64_t new_pages, uint64_t* previous_pages, ps_error* error);
/* Fills `buffer`; on an error its content is unspecified. `buffer` may be NULL where `length` is 0. */
PS_API int ps_session_read(ps_session* session, uint64_t offset, void* buffer, size_t length, ps_error* error);
/* The most bytes of a write that is applied whole or not at all: for everybody who reads meanwhile, when it fails, and
 * when a process is killed in it. PS_PAGE_BYTES: of a write that lies within one page. 1: there is no such promise. It
 * never changes. */
PS_API int ps_session_atomic_write_bytes(ps_session* session, uint64_t* bytes, ps_error* error);
/* Never grows the image. `data` may be NULL where `length` is 0. */
PS_API int ps_session_write(ps_session* session, uint64_t offset, const void* data, size_t length, ps_error* error);
/* Returns once everything that was written and grown before survives a kill of every process involved and loss of
 * power; publishes it where the session publishes on_flush. */
PS_API int ps_session_flush(ps_session* session, ps_error* error);

/* What follows is for URIs of the schemes pageserver, pageserver+unix and store; PS_UNSUPPORTED for a plain file or
 * `heap:`. */

/* The version that reads see now. */
PS_API int ps_session_version(ps_session* session, ps_image_version* version, ps_error* error);
/* pinned: moves to the newest version; fork: moves the base, only when nothing is private; live: says the newest
 * version; writer: PS_UNSUPPORTED. `refreshed` may be NULL. */
PS_API int ps_session_refresh(ps_session* session, const ps_refreshed** refreshed, ps_error* error);
/* As a flush, unless a change of this session failed since the last flush, commit or discard that went well: then
 * nothing is published, and the error is PS_INVALID_ARGUMENT, naming the change. */
PS_API int ps_session_commit(ps_session* session, ps_error* error);
/* writer: drops what is not published; fork: back to the version at opening; reader: nothing. */
PS_API int ps_session_discard(ps_session* session, ps_error* error);
/* Takes the writer lease of this store from whoever has it, if its epoch is this one (0: whichever). *broken, which may
 * be given as NULL, is that writer; NULL: there was none. */
PS_API int ps_session_break_lease(ps_session* session, uint64_t epoch, const ps_holder** broken, ps_error* error);
/* PS_OK while the session can go on; else why it can't: PS_LEASE_LOST, or what has ended its connection. Takes in what
 * the daemon has said meanwhile, without a round trip and without waiting for it. */
PS_API int ps_session_lost(ps_session* session, ps_error* error);
PS_API int ps_session_stat(ps_session* session, const ps_stat** stat, ps_error* error);
/* As a write of zeros of any length, without sending or storing them. */
PS_API int ps_session_zero(ps_session* session, uint64_t offset, uint64_t length, ps_error* error);
/* What of [offset, offset + length) may hold something other than zeros. `described_until` is the end of that part. */
PS_API int ps_session_data_ranges(ps_session* session, uint64_t offset, uint64_t length, const ps_ranges** ranges,
                                  ps_error* error);
/* Costs no round trip. PS_UNSUPPORTED for `store:` too. */
PS_API int ps_session_traffic(ps_session* session, ps_traffic* traffic, ps_error* error);

/* ---- a daemon, without a session on one of its stores ---- */

typedef struct ps_daemon ps_daemon;

typedef struct ps_store {
  size_t size;
  const char* name;
  uint64_t pages;
  int read_only;
  int open;                    /* not 0: the daemon has it open */
  const ps_recovery* recovery; /* as in ps_stat, without the texts */
} ps_store;

typedef struct ps_stores {
  size_t size;
  size_t count;
  const ps_store* const* stores; /* in rising byte order of their names */
} ps_stores;
PS_API void ps_stores_free(const ps_stores* stores);

typedef struct ps_daemon_info {
  size_t size;
  const char* name; /* what the daemon calls itself, such as "pageserverd 0.1.0" */
  uint32_t protocol_version;
  uint32_t request_bytes_max; /* the most that is read or written in one request */
  uint32_t requests_in_flight_max;
} ps_daemon_info;
PS_API void ps_daemon_info_free(const ps_daemon_info* info);

/* Connects to `pageserver://HOST[:PORT]`, `pageservers://HOST[:PORT]` or `pageserver+unix:///?socket=PATH`. Of
 * `options`, which may be NULL, client_name, the timeouts, poll_us, and what says who the client is are taken. */
PS_API int ps_daemon_open(const char* uri, const ps_options* options, ps_daemon** daemon, ps_error* error);
PS_API void ps_daemon_close(ps_daemon* daemon);
/* Asks it to answer. `round_trip_ns`, which may be NULL, gets how long that took. */
PS_API int ps_daemon_ping(ps_daemon* daemon, uint64_t* round_trip_ns, ps_error* error);
PS_API int ps_daemon_describe(ps_daemon* daemon, const ps_daemon_info** info, ps_error* error);
/* All stores. One that comes or goes meanwhile may or may not be there. */
PS_API int ps_daemon_list(ps_daemon* daemon, const ps_stores** stores, ps_error* error);
PS_API int ps_daemon_create(ps_daemon* daemon, const char* store, uint64_t pages, ps_error* error);
PS_API int ps_daemon_remove(ps_daemon* daemon, const char* store, ps_error* error);

/* What a client may do with a store, as bits. A later daemon may know more. */
enum {
  PS_RIGHT_READ = 1,  /* open it with access read */
  PS_RIGHT_FORK = 2,  /* open it with access fork */
  PS_RIGHT_WRITE = 4, /* open it with access write, which reads as well */
  PS_RIGHT_CREATE = 8,
  PS_RIGHT_REMOVE = 16,
  PS_RIGHT_ADMIN = 32 /* break its lease, see and end the sessions of others, see their names */
};

/* Whom a daemon takes a client for, and what that client may do. */
typedef struct ps_identity {
  size_t size;
  const char* identity;    /* "token:NAME", "cert:NAME", "uid:NUMBER", "anyone" */
  uint32_t rights;         /* PS_RIGHT_..., together */
  const char* rights_text; /* the same for people: "read, fork"; "nothing" */
  const char* why;         /* for people: which rules give them */
} ps_identity;
PS_API void ps_identity_free(const ps_identity* identity);

/* Who this client is for the daemon, and what it may do with `store`, or with every store where that is NULL.
 * PS_UNSUPPORTED of an older daemon, which does not ask: whoever reaches it may do everything. */
PS_API int ps_daemon_whoami(ps_daemon* daemon, const char* store, const ps_identity** identity, ps_error* error);

/* Takes the lease from the writer of `store` with this epoch (ps_stat has it; 0: whichever). *broken, which may be
 * given as NULL, is that writer; NULL: there was none. */
PS_API int ps_daemon_break_lease(ps_daemon* daemon, const char* store, uint64_t epoch, const ps_holder** broken,
                                 ps_error* error);

/* What a connection to a daemon does. A later daemon may say more. */
enum {
  PS_STATE_GREETING = 0, /* it has not said hello */
  PS_STATE_FRONT = 1,    /* it has no session */
  PS_STATE_OPENING = 2,  /* its session is being opened */
  PS_STATE_IN_LINE = 3,  /* its session waits for the writer lease */
  PS_STATE_SESSION = 4,
  PS_STATE_LEAVING = 5, /* it has ended, but for what its peer has not read or a disk has not returned */
  PS_STATE_DETACHED = 6 /* a session without a connection, whose client may come back for it */
};
/* What its oldest request waits for. A later daemon may say more. */
enum {
  PS_WAITS_FOR_NOTHING = 0, /* that is known */
  PS_WAITS_FOR_DIRECTORY = 1,
  PS_WAITS_FOR_STORE = 2, /* which is being opened */
  PS_WAITS_FOR_LEASE = 3,
  PS_WAITS_FOR_FLUSH = 4,
  PS_WAITS_FOR_ROOM = 5, /* in the log */
  PS_WAITS_FOR_DISK = 6, /* a call that does not come back */
  PS_WAITS_FOR_TURN = 7  /* other sessions of its store are stuck in too many calls */
};

/* A connection to a daemon, and the session that it has or waits for. What is about a session is 0 or "" without one.
 * Times are in milliseconds. */
typedef struct ps_session_report {
  size_t size;
  int state;      /* PS_STATE_... */
  int waits_for;  /* PS_WAITS_FOR_... */
  int access;     /* PS_ACCESS_... */
  int view;       /* PS_VIEW_... */
  int publish;    /* PS_PUBLISH_... */
  int peer_known; /* not 0: peer_uid and peer_pid are, of the process at the other end of a Unix socket */
  int has_lease;
  int lost_lease;
  int kicked; /* not 0: it is being ended */
  uint64_t connection_id;
  uint64_t session_id;         /* never that of another one while the daemon runs; as in the daemon's log */
  uint64_t connected_ms;       /* age of the connection */
  uint64_t opened_ms;          /* since the session was opened, or began to wait for that */
  uint64_t idle_ms;            /* since its last request; 0 while one is in flight */
  uint64_t epoch;              /* of the writer lease */
  uint64_t place_in_line;      /* 1: the next one to get the lease; 0: not in the line */
  uint64_t held_version;       /* number of the version that this pin or fork holds */
  uint64_t requests;           /* that are done */
  uint64_t bytes_read;         /* sent to it as data */
  uint64_t bytes_written;      /* taken from it as data */
  uint64_t private_bytes;      /* that others don't see, as they count against bounds */
  uint64_t unsent_bytes;       /* of answers that its peer does not take */
  uint32_t requests_in_flight; /* that have arrived and are not answered; may be fewer than there are */
  uint32_t peer_uid;
  uint32_t peer_pid;
  uint32_t request_ms; /* age of the oldest request in flight */
  const char* store;
  const char* session_name; /* what the session calls itself */
  const char* client_name;  /* program and version */
  const char* address;      /* "127.0.0.1:40312", "unix pid 4711" */
} ps_session_report;

typedef struct ps_sessions {
  size_t size;
  size_t count;
  const ps_session_report* const* sessions; /* in rising order of their connections' ids */
} ps_sessions;
PS_API void ps_sessions_free(const ps_sessions* sessions);

typedef struct ps_kicked {
  size_t size;
  const ps_session_report* session; /* as it was before */
  /* Not 0: all that it held is free. 0: a call to a disk still has hold of it, after a second; its lease and its pin
   * are free all the same, but for a publish that is under way. */
  int released;
} ps_kicked;
PS_API void ps_kicked_free(const ps_kicked* kicked);

/* All connections, or with `store`, which may be NULL, those that have a session on it or wait for one. Answered also
 * while stores hang. PS_UNSUPPORTED of an older daemon; the same for what follows. */
PS_API int ps_daemon_sessions(ps_daemon* daemon, const char* store, const ps_sessions** sessions, ps_error* error);
/* Of `store`, or of all stores together where that is NULL. */
PS_API int ps_daemon_load(ps_daemon* daemon, const char* store, const ps_load** load, ps_error* error);
enum { PS_KICK_SESSION = 0, PS_KICK_CONNECTION = 1 };
/* Ends the session, or the connection, with that id, whatever it does. Its client's calls answer PS_CONNECTION_LOST
 * from then on, with a text that names who asked for this, and `reason`, which may be NULL. PS_NOT_FOUND where there is
 * none any more. `kicked` may be NULL. */
PS_API int ps_daemon_kick(ps_daemon* daemon, int what, uint64_t id, const char* reason, const ps_kicked** kicked,
                          ps_error* error);

/* ---- a session for event loops, and for many requests in flight from one thread ---- */

/*
 * It has no thread and no cache, and blocks only in opening, closing, ps_async_wait() and ps_async_run().
 *
 * Operations take effect in the order in which they were started, each for itself. Starting one sends nothing yet and
 * calls nothing back: ps_async_dispatch(), ps_async_wait() and ps_async_run() do. Those that the daemon does not take
 * yet wait here without a bound: a loop that starts them looks at `has_room`. Buffers stay, and a write's unchanged,
 * until the completion runs or the session is closed.
 *
 * Completions run once each, inside those three, on the calling thread. `error` is NULL when all went well; it, and
 * each value, lives until the completion returns. One may start operations, and may close the session: no further one
 * runs then, and the handle is gone when the call that ran it returns. It can't dispatch or wait. Completions that are
 * outstanding when the session is closed never run. `done` may be NULL where nobody wants to know.
 */
typedef struct ps_async ps_async;

typedef void (*ps_done)(void* user_data, const ps_error* error);
typedef void (*ps_pages_done)(void* user_data, const ps_error* error, uint64_t pages);
typedef struct ps_view {
  size_t size;
  uint64_t pages;
  ps_image_version version;
} ps_view;
/* Values are NULL where there is an error. */
typedef void (*ps_view_done)(void* user_data, const ps_error* error, const ps_view* view);
typedef void (*ps_refreshed_done)(void* user_data, const ps_error* error, const ps_refreshed* refreshed);
typedef void (*ps_ranges_done)(void* user_data, const ps_error* error, const ps_ranges* ranges);
typedef void (*ps_stat_done)(void* user_data, const ps_error* error, const ps_stat* stat);
/* NULL, too, where there was no writer. */
typedef void (*ps_holder_done)(void* user_data, const ps_error* error, const ps_holder* holder);

/* For remote URIs only; a cache is none here. */
PS_API int ps_async_open(const char* uri, const ps_options* options, ps_async** async, ps_error* error);
/* Waits for the daemon's word, at most a second, when nothing is outstanding; else just leaves. ps_async_end() is for
 * who can't wait. */
PS_API void ps_async_close(ps_async* async);

/* At most request_bytes_max bytes, else PS_LIMIT_EXCEEDED; the same for a write. */
PS_API int ps_async_read(ps_async* async, uint64_t offset, void* buffer, size_t length, ps_done done, void* user_data,
                         ps_error* error);
PS_API int ps_async_write(ps_async* async, uint64_t offset, const void* data, size_t length, ps_done done,
                          void* user_data, ps_error* error);
PS_API int ps_async_zero(ps_async* async, uint64_t offset, uint64_t length, ps_done done, void* user_data,
                         ps_error* error);
/* The value is the number of pages before. */
PS_API int ps_async_grow(ps_async* async, uint64_t new_pages, ps_pages_done done, void* user_data, ps_error* error);
/* `timeout_ms`, where it is not 0, replaces request_timeout. A flush that is started while a change of an on_flush
 * session has no answer yet is a commit. */
PS_API int ps_async_flush(ps_async* async, uint64_t timeout_ms, ps_done done, void* user_data, ps_error* error);
/* As a flush, unless a change of this session was refused since the last one that went well: then nothing is published
 * and the error is PS_INVALID_ARGUMENT, naming the change. So a transaction costs one round trip. */
PS_API int ps_async_commit(ps_async* async, uint64_t timeout_ms, ps_done done, void* user_data, ps_error* error);
/* Ends the session behind everything that was started before: when `done` gets no error, that is answered, and the
 * lease is free. From the start on nothing more can be started. The handle is still to be closed, which then waits for
 * nothing. `timeout_ms`, where it is not 0, replaces request_timeout. */
PS_API int ps_async_end(ps_async* async, uint64_t timeout_ms, ps_done done, void* user_data, ps_error* error);
PS_API int ps_async_discard(ps_async* async, ps_done done, void* user_data, ps_error* error);
PS_API int ps_async_refresh(ps_async* async, ps_refreshed_done done, void* user_data, ps_error* error);
/* Size and version of the session's view. */
PS_API int ps_async_size(ps_async* async, ps_view_done done, void* user_data, ps_error* error);
/* May describe less than it was asked for: ask again from `described_until`. */
PS_API int ps_async_data_ranges(ps_async* async, uint64_t offset, uint64_t length, ps_ranges_done done, void* user_data,
                                ps_error* error);
PS_API int ps_async_stat(ps_async* async, ps_stat_done done, void* user_data, ps_error* error);
PS_API int ps_async_break_lease(ps_async* async, uint64_t epoch, ps_holder_done done, void* user_data, ps_error* error);

enum { PS_EVENT_IN = 1, PS_EVENT_OUT = 4 }; /* POLLIN and POLLOUT of poll(2) */

/* What an event loop waits for now: `events` on `descriptor`, for `timeout_ms` at the longest; then it dispatches. All
 * of it changes with each call. Owned by the caller, who sets `size`. */
typedef struct ps_interest {
  size_t size;
  int descriptor;
  int events;         /* PS_EVENT_... */
  int timeout_ms;     /* -1: for as long as you like */
  int has_room;       /* not 0: an operation started now is sent at once */
  size_t outstanding; /* started, and its completion did not run yet */
} ps_interest;
PS_API int ps_async_interest(ps_async* async, ps_interest* interest, ps_error* error);

/* `lost` runs once, as completions do, when the lease is lost or the connection has ended, also when nothing is
 * outstanding. NULL: nobody wants to know. */
PS_API int ps_async_on_lost(ps_async* async, ps_done lost, void* user_data, ps_error* error);

/* What never changes in a session. Owned by the caller, who sets `size`. */
typedef struct ps_opened {
  size_t size;
  uint64_t pages; /* of the view when the session was opened */
  ps_image_version version;
  uint32_t request_bytes_max;
  int can_zero; /* not 0: the daemon knows the operation */
  int can_find_data;
  int can_commit;
} ps_opened;
PS_API int ps_async_opened(ps_async* async, ps_opened* opened, ps_error* error);

/* Sends and receives what is possible without waiting. `completed`, which may be NULL, gets how many completions ran:
 * so does that of ps_async_wait(). */
PS_API int ps_async_dispatch(ps_async* async, size_t* completed, ps_error* error);
/* Dispatches until a completion ran, `timeout_ms` passed (-1: without end), or nothing is outstanding. */
PS_API int ps_async_wait(ps_async* async, int timeout_ms, size_t* completed, ps_error* error);
/* Dispatches until nothing is outstanding; PS_TIMED_OUT, which ends nothing here, when `timeout_ms` passed first. When
 * the connection has ended each completion got that error, and so does the call. */
PS_API int ps_async_run(ps_async* async, int timeout_ms, ps_error* error);

#ifdef __cplusplus
}
#endif

#endif
