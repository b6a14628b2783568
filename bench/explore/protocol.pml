/*
 * The reduced protocol of bench/explore: three pages move to a new place under the lock of their table, the flush of the old place comes after the lock was
 * dropped (LATE) or before; what lies at the new place is freed under the lock. Two CPUs access the old place.
 *
 * A step is what it is in protocol.ts, an operation with the local code behind it (d_step), so that both have the same states: 27,345 and the one before `init` has run.
 */
#define PAGES 3
#define ACCESSES 3
#define ACCESSORS 2
#define CPUS 4

bool held;
byte pte[PAGES];
byte moved[PAGES];
bool freed[PAGES + 1];
byte tlb[CPUS * PAGES];

#define OWN tlb[cpu * PAGES + page]
#define NEXT n++; page = (n < ACCESSES -> (cpu + n % 2) % PAGES : 0)

proctype accessor(byte cpu; byte page) {
  byte n; byte e;
  skip;
end:
  do
  :: d_step { n < ACCESSES && OWN != 0 -> assert(!freed[OWN]); NEXT }
  :: d_step { n < ACCESSES && OWN == 0 -> skip };
     d_step { !held -> held = true };
     e = pte[page];
     if
     :: d_step { e != 0 -> OWN = e; e = 0 }; d_step { held = false; NEXT }
     :: d_step { e == 0 -> held = false; NEXT }
     fi
  od
}

proctype mover() {
  byte i; byte e; byte c;
  skip;
end:
  do
  :: d_step { i < PAGES && !held -> held = true };
     e = pte[i];
     pte[i] = 0;
     d_step { moved[i] = e; e = 0 };
#ifdef LATE
     held = false;
#endif
     do
     :: d_step { c < CPUS - 1 -> tlb[c * PAGES + i] = 0; c++ }
#ifdef LATE
     :: d_step { c == CPUS - 1 -> tlb[c * PAGES + i] = 0; c = 0; i++ } -> break
#else
     :: d_step { c == CPUS - 1 -> tlb[c * PAGES + i] = 0; c++ }
     :: d_step { c == CPUS -> held = false; c = 0; i++ } -> break
#endif
     od
  od
}

proctype truncator() {
  byte i; byte e;
  skip;
end:
  do
  :: d_step { i < PAGES && !held -> held = true };
     e = moved[i];
     moved[i] = 0;
     if
     :: d_step { e != 0 -> held = false };
        d_step { freed[e] = true; e = 0; i++ }
     :: d_step { e == 0 -> held = false; i++ }
     fi
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
    do
    :: i < ACCESSORS -> run accessor(i, i % PAGES); i++
    :: else -> break
    od;
    run mover();
    run truncator()
  }
}
