/*
 * The recorder plays lists of memory-management operations on the running kernel and prints traces: what each operation returned,
 * which accesses faulted, and the state of every process afterwards.
 *
 * Units: addresses and lengths are bytes, `vpn`-like numbers do not occur; pages are 4096 bytes.
 */
#ifndef RECORDER_H
#define RECORDER_H

#include "routines.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

typedef uint64_t u64;
typedef int64_t s64;

#define PAGE 4096UL
/* The executor's own mapping: what it costs is subtracted from every number that is recorded. */
/* HARNESS_START: routines.h */
#define HARNESS_END 0x7e0000011000UL
/* Sixteen pages of it for arguments of system calls. */
#define ROOM 0x7e0000001000UL
#define ROOM_BYTES 0x10000UL

#define MOST_TRACEES 64
/* An operation that takes longer is given up and its process killed. */
#define SECONDS_AN_OPERATION 20

/* Exit codes: no recording is possible on this machine (a reason was printed), a bad list, an error of the recorder itself. */
enum { EXIT_SKIP = 77, EXIT_INPUT = 2, EXIT_BROKEN = 3 };

/* ---- text.c: output ---- */
struct text {
  char *bytes;
  size_t length, room;
};
extern struct text out;
void text_bytes(struct text *t, const char *bytes, size_t length);
void text_string(struct text *t, const char *string);
void text_char(struct text *t, char c);
void text_decimal(struct text *t, s64 number);
void text_unsigned(struct text *t, u64 number);
void text_hex(struct text *t, u64 number);
void text_format(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_flush(struct text *t, int fd);
/* `[1,[3,0]]`: the bytes, equal neighbours as [count,byte]. */
void text_runs(struct text *t, const unsigned char *bytes, u64 length);
_Noreturn void give_up(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- json.c: input ---- */
enum kind { NOTHING, NUMBER, STRING, LIST };
struct value {
  enum kind kind;
  u64 number;
  const char *string;
  struct value *items;
  int count;
};
struct operation {
  const char *name;
  int process;
  struct value arguments;
};
/* Both change the line in place (strings end in NUL); what they return holds until the next call. */
bool parse_operation(char *line, struct operation *op);
/* Argument i as a number, 0 where there is none; as a string, "" where there is none; as a list, an empty one. */
u64 number_at(const struct value *list, int i);
const char *string_at(const struct value *list, int i);
const struct value *list_at(const struct value *list, int i);

/* ---- undo.c: what is taken back when the recorder ends, however it ends ---- */
void undo_start(void);
void undo_finish(void);
void undo_file(const char *path);
/* Writes a setting and remembers what it was. Returns 0 or a negative error number. */
int setting_write(const char *path, const char *value);
/* The value of a setting: of `a [b] c` only b. */
void setting_read(const char *path, char *value, size_t room);
/* Takes back settings, segments and files now: the end of a list. */
void undo_now(void);
void undo_segment(int id);
ssize_t read_whole(const char *path, char *bytes, size_t room);

/* ---- tracee.c: the processes that operations run in ---- */
struct mapping_line {
  u64 start, end;
  char *text;
};
#define STATUS_FIELDS 13
struct tracee {
  pid_t pid;
  bool alive;
  int wait_status;
  int memory, pagemap, smaps, status, descriptors;
  struct user_regs_struct registers;
  u64 open_files; /* bit n: descriptor n may be open */
  int child;      /* number of the process that the last fork made */
  int signal, code;
  u64 fault_address;
  /* what the last snapshot showed */
  bool announced_gone, status_known;
  struct mapping_line *lines;
  int line_count;
  s64 status_shown[STATUS_FIELDS];
};
extern struct tracee tracees[MOST_TRACEES];
extern int tracee_count;
extern s64 table_kilobytes_at_start;
extern const char *executor_path;

enum outcome { STOPPED, FAULTED, GONE, TIMED_OUT };
void tracee_start_first(void);
void tracees_end(void);
/* Sets the registers of a routine of the executor; run_on lets it run until int3, a fault or its end. */
struct user_regs_struct *routine(struct tracee *t, u64 address);
enum outcome run_on(struct tracee *t);
enum outcome step_once(struct tracee *t);
enum outcome system_call(struct tracee *t, s64 *result, long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* The same where nothing but a result can come. */
s64 plain_call(struct tracee *t, long number, u64 a, u64 b, u64 c);
void kill_tracee(struct tracee *t);
void room_write(struct tracee *t, u64 at, const void *bytes, size_t length);
void room_read(struct tracee *t, u64 at, void *bytes, size_t length);
/* One page of our own is locked and unlocked: that empties this CPU's batches of pages on their way to an LRU list. */
void drain_batches(void);

/* ---- access.c, calls.c: operations ---- */
void print_result(s64 result);
void print_address(s64 result);
void print_ending(struct tracee *t, enum outcome outcome);
bool play_access(struct tracee *t, const struct operation *op);
void play(const struct operation *op);
void calls_reset(void);

/* ---- files.c: canonical names of what is mapped ---- */
enum file_kind { SHMEM, HUGETLB, DISK };
void files_reset(void);
/* Tells what a descriptor that an operation just opened is called. */
void file_opened(struct tracee *t, int fd, const char *name, enum file_kind kind);
const char *file_name(unsigned major, unsigned minor, u64 inode, const char *path, bool *on_disk);
const char *directory_of(char where);
int new_memfd_number(void);
void print_files(bool *first);

/* ---- pages.c, snapshot.c: state ---- */
void frames_start(void);
void page_tokens(struct text *t, int process, u64 start, u64 end, bool on_disk, bool gigantic);
void print_snapshot(void);
extern bool without_referenced;
extern int kpageflags, kpagecount;

/* ---- huge.c: what lists about huge pages need of the machine ---- */
/* Before the keeper is made, which holds the lock too. */
void huge_start(void);
/* The start of a list with this header, "" for none: waits until no other recorder plays what would disturb it. */
void huge_begin(const char *header);
/* The end of a list, after its processes are gone and its settings are taken back. */
void huge_end(void);
/* The value to write to a setting, and the value that is shown for one. */
const char *huge_biased(const char *path, const char *value, char *room, size_t bytes);
void huge_unbiased(const char *path, char *value, size_t bytes);
/* The pool's counters, where the list asked for them and they changed. */
void huge_print(bool *first);

/* ---- header.c, probe.c ---- */
void print_header(const char *fields);
/* Ends the program with EXIT_SKIP and one sentence where the recordings of this machine could not be compared. */
void check_machine(void);
extern bool protection_keys;
void print_kernel_configuration(void);

#endif
