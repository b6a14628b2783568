/* Loads, stores and instruction fetches by the executor: `r`, `w`, `r8`, `w8`, `cas`, `x`. */
#include "recorder.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ACCESSES 65536
static struct {
  u64 address;
  int signal, code;
} faults[MOST_ACCESSES];
static int fault_count;
static unsigned char loaded[MOST_ACCESSES];

static void note_fault(const struct tracee *t) {
  faults[fault_count].address = t->fault_address;
  faults[fault_count].signal = t->signal;
  faults[fault_count++].code = t->code;
}

/* `,"f":[[address,n,signal,code]..]`: n faults in a row, each a page behind the one before. */
static void print_faults(void) {
  if (!fault_count) return;
  text_string(&out, ",\"f\":[");
  for (int i = 0, j; i < fault_count; i = j) {
    for (j = i + 1; j < fault_count; j++)
      if (faults[j].signal != faults[i].signal || faults[j].code != faults[i].code || faults[j].address != faults[j - 1].address + PAGE) break;
    text_format(&out, "%s[\"0x%lx\",%d,%d,%d]", i ? "," : "", faults[i].address, j - i, faults[i].signal, faults[i].code);
  }
  text_char(&out, ']');
}

/* Runs a loop of the executor over n pages; an access that faults is skipped. What a load brings is put into `loaded`. */
static enum outcome loop(struct tracee *t, u64 at, int instruction_bytes, u64 address, u64 n, u64 byte) {
  bool loads = at == AT_LOAD;
  u64 most = loads ? 8 : MOST_ACCESSES;
  for (u64 done = 0; done < n;) {
    u64 part = n - done < most ? n - done : most;
    struct user_regs_struct *r = routine(t, ROUTINE(at));
    r->rdi = address + done * PAGE;
    r->rsi = byte + done;
    r->rcx = part;
    for (;;) {
      enum outcome outcome = run_on(t);
      if (outcome == STOPPED) break;
      if (outcome != FAULTED) return outcome;
      /* The executor cannot fetch its own code any more: nothing can be learned from it. */
      if (t->fault_address == (u64)r->rip) {
        kill_tracee(t);
        return GONE;
      }
      note_fault(t);
      r->rip += instruction_bytes;
      r->rax = 0;
      r->orig_rax = -1;
    }
    if (loads)
      for (u64 i = 0; i < part; i++) loaded[done + i] = r->rbx >> 8 * (part - 1 - i);
    done += part;
  }
  return STOPPED;
}

static enum outcome single(struct tracee *t, u64 at, u64 address, u64 word) {
  struct user_regs_struct *r = routine(t, ROUTINE(at));
  r->rdi = address;
  r->rsi = word;
  enum outcome outcome = run_on(t);
  if (outcome == FAULTED) note_fault(t);
  return outcome;
}

/*
 * One instruction at each address. The bytes there may be anything: registers lead what they do into the room, and only a fault of
 * the fetch itself is one (an instruction that exists and fails was fetched).
 */
static enum outcome fetch(struct tracee *t, u64 address, u64 n) {
  for (u64 i = 0; i < n; i++) {
    u64 at = address + i * PAGE;
    struct user_regs_struct *r = routine(t, at);
    r->rax = r->rbx = r->rcx = r->rdx = r->rsi = r->rdi = r->rbp = ROOM;
    r->r8 = r->r9 = r->r10 = r->r11 = r->r12 = r->r13 = r->r14 = r->r15 = ROOM;
    r->rsp = ROOM + ROOM_BYTES / 2;
    enum outcome outcome = step_once(t);
    if (outcome == FAULTED && t->signal != SIGILL && t->fault_address == at) note_fault(t);
    else if (outcome != STOPPED && outcome != FAULTED) return outcome;
  }
  return STOPPED;
}

bool play_access(struct tracee *t, const struct operation *op) {
  const struct value *a = &op->arguments;
  const char *name = op->name;
  u64 address = number_at(a, 0), n = a->count > 1 ? number_at(a, 1) : 1, byte = number_at(a, 2);
  enum outcome outcome;
  bool eight = !strcmp(name, "r8") || !strcmp(name, "w8"), loads = *name == 'r';
  if (!eight && strcmp(name, "r") && strcmp(name, "w") && strcmp(name, "x") && strcmp(name, "cas")) return false;
  if (eight) n = 1;
  if (n > MOST_ACCESSES) n = MOST_ACCESSES;
  fault_count = 0;
  memset(loaded, 0, n);
  if (eight) outcome = single(t, loads ? AT_LOAD8 : AT_STORE8, address, number_at(a, 1));
  else if (*name == 'x') outcome = fetch(t, address, n);
  else if (*name == 'c') outcome = loop(t, AT_COMPARE, BYTES_OF_COMPARE, address, n, byte);
  else if (loads) outcome = loop(t, AT_LOAD, BYTES_OF_LOAD, address, n, 0);
  else outcome = loop(t, AT_STORE, BYTES_OF_STORE, address, n, byte);
  if (outcome == GONE || outcome == TIMED_OUT) {
    print_ending(t, outcome);
    return true;
  }
  text_string(&out, ",\"r\":");
  text_unsigned(&out, n - fault_count);
  if (loads && eight) text_format(&out, ",\"v\":\"0x%lx\"", outcome == STOPPED ? (u64)t->registers.rax : 0UL);
  else if (loads) {
    text_string(&out, ",\"v\":");
    text_runs(&out, loaded, n);
  }
  print_faults();
  return true;
}
