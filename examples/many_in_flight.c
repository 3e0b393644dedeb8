/* Sixty-four reads in flight from one thread, in C: many_in_flight [URI] */
#include <pageserver/pageserver.h>
#include <stdio.h>

enum { BLOCKS = 64, BLOCK_BYTES = 4096 };

struct scan {
  char blocks[BLOCKS][BLOCK_BYTES]; /* stays where it is until the answers have come */
  int ended;
  ps_error error; /* of the first that failed */
};

static void block_ended(void* user_data, const ps_error* error) {
  struct scan* scan = user_data;
  if (error != NULL && scan->error.code == PS_OK) scan->error = *error;
  ++scan->ended;
}

int main(int argc, char** argv) {
  static struct scan scan = {{{0}}, 0, PS_ERROR_INIT};
  ps_options options = PS_OPTIONS_INIT;
  ps_error error = PS_ERROR_INIT;
  ps_async* session = NULL;
  int i, code;
  options.access = PS_ACCESS_READ;
  code = ps_async_open(argc > 1 ? argv[1] : "pageserver://127.0.0.1/demo", &options, &session, &error);
  for (i = 0; i < BLOCKS && code == PS_OK; ++i)
    code = ps_async_read(session, (uint64_t)i * BLOCK_BYTES, scan.blocks[i], BLOCK_BYTES, block_ended, &scan, &error);
  if (code == PS_OK) code = ps_async_run(session, 10000, &error);
  if (code == PS_OK && scan.error.code != PS_OK) code = scan.error.code, error = scan.error;
  ps_async_close(session);
  if (code != PS_OK) {
    fprintf(stderr, "%s: %s\n", ps_code_name(code), error.text);
    return 1;
  }
  printf("%d blocks\n", scan.ended);
  return 0;
}
