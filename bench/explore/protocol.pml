/*
 * The reduced protocol of bench/explore: three pages move to a new place under the lock of their table, the flush of the old place comes after the lock was
 * dropped (LATE) or before; what lies at the new place is freed under the lock. Two CPUs access the old place.
 */
#ifndef PAGES
#define PAGES 3
#endif
#ifndef ACCESSES
#define ACCESSES 3
#endif
#define CPUS 4

bool held;
byte pte[PAGES];
byte moved[PAGES];
bool freed[PAGES + 1];
byte tlb[CPUS * PAGES];

inline lock() { atomic { !held -> held = true } }
inline unlock() { held = false }
inline flush(page) {
  c = 0;
  do
  :: c < CPUS -> tlb[c * PAGES + page] = 0; c++
  :: else -> break
  od
}

proctype accessor(byte cpu) {
  byte n; byte page; byte t; byte e;
  do
  :: n < ACCESSES ->
     page = (cpu + n % 2) % PAGES;
     atomic { t = tlb[cpu * PAGES + page]; assert(t == 0 || !freed[t]) };
     if
     :: t == 0 ->
        lock();
        e = pte[page];
        if
        :: e != 0 -> tlb[cpu * PAGES + page] = e
        :: else -> skip
        fi;
        unlock()
     :: else -> skip
     fi;
     n++; page = 0; t = 0; e = 0
  :: else -> break
  od
}

proctype mover() {
  byte i; byte e; byte c;
  do
  :: i < PAGES ->
     lock();
     e = pte[i];
     pte[i] = 0;
     moved[i] = e;
#ifdef LATE
     unlock();
     flush(i);
#else
     flush(i);
     unlock();
#endif
     i++; e = 0; c = 0
  :: else -> break
  od
}

proctype truncator() {
  byte i; byte e;
  do
  :: i < PAGES ->
     lock();
     e = moved[i];
     moved[i] = 0;
     unlock();
     if
     :: e != 0 -> freed[e] = true
     :: else -> skip
     fi;
     i++; e = 0
  :: else -> break
  od
}

init {
  atomic {
    byte i = 0;
    do
    :: i < PAGES -> pte[i] = i + 1; i++
    :: else -> break
    od;
    i = 0;
    run accessor(0);
    run accessor(1);
    run mover();
    run truncator()
  }
}
