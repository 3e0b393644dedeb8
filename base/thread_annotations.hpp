// Says which lock guards what, so that clang checks it (-Wthread-safety). For other compilers the macros are nothing.
//
//   Mutex mutex_;
//   std::size_t waiting_ PAGESERVER_GUARDED_BY(mutex_) = 0;             // touched only while mutex_ is held
//   void drive() PAGESERVER_REQUIRES(mutex_);                           // the caller holds it
//   void call() PAGESERVER_EXCLUDES(mutex_);                            // takes it itself: the caller must not hold it
//   changed_.wait(lock, [&]() PAGESERVER_REQUIRES(mutex_) { return waiting_ == 0; });
//
// A lambda is a function of its own for clang: one that runs under the lock says so, as the last line does.
#pragma once

#ifdef __clang__
#define PAGESERVER_THREAD_ANNOTATION(words) __attribute__((words))
#else
#define PAGESERVER_THREAD_ANNOTATION(words)
#endif

// Of a class: it is a lock; it holds one as long as it lives.
#define PAGESERVER_CAPABILITY(name) PAGESERVER_THREAD_ANNOTATION(capability(name))
#define PAGESERVER_SCOPED_CAPABILITY PAGESERVER_THREAD_ANNOTATION(scoped_lockable)
// Of a data member: it, or what it points to, is touched only under the lock.
#define PAGESERVER_GUARDED_BY(mutex) PAGESERVER_THREAD_ANNOTATION(guarded_by(mutex))
#define PAGESERVER_PT_GUARDED_BY(mutex) PAGESERVER_THREAD_ANNOTATION(pt_guarded_by(mutex))
// Of a function: what its caller holds, or must not hold.
#define PAGESERVER_REQUIRES(...) PAGESERVER_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define PAGESERVER_REQUIRES_SHARED(...) PAGESERVER_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define PAGESERVER_EXCLUDES(...) PAGESERVER_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
// Of a function: it returns with the lock taken, or given back.
#define PAGESERVER_ACQUIRE(...) PAGESERVER_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define PAGESERVER_ACQUIRE_SHARED(...) PAGESERVER_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define PAGESERVER_TRY_ACQUIRE(...) PAGESERVER_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define PAGESERVER_RELEASE(...) PAGESERVER_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
// Of a function: clang takes the lock for held from here on, because the code around knows it.
#define PAGESERVER_ASSERT_HELD(...) PAGESERVER_THREAD_ANNOTATION(assert_capability(__VA_ARGS__))
// Of a function: it returns this lock.
#define PAGESERVER_RETURN_CAPABILITY(mutex) PAGESERVER_THREAD_ANNOTATION(lock_returned(mutex))
// Of a function that clang can't follow. The reason stands beside it.
#define PAGESERVER_NO_THREAD_SAFETY_ANALYSIS PAGESERVER_THREAD_ANNOTATION(no_thread_safety_analysis)
