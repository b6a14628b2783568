/**
 * The virtual modules `pxd:direct` and `pxd:step` (scripts/kernel-program.mjs makes them): src/mm/index.ts as the two programs. Named imports and
 * the object of all of them: `import { handleMmFault } from 'pxd:direct'`, `import { direct } from 'pxd:direct'`.
 */
declare module 'pxd:direct' {
  const program: import('../kernel/compile/program-types.ts').Direct<typeof import('../mm/index.ts')> & {
    readonly direct: import('../kernel/compile/program-types.ts').Direct<typeof import('../mm/index.ts')>;
  };
  export = program;
}
declare module 'pxd:step' {
  const program: import('../kernel/compile/program-types.ts').Steps<typeof import('../mm/index.ts')> & {
    readonly step: import('../kernel/compile/program-types.ts').Steps<typeof import('../mm/index.ts')>;
  };
  export = program;
}
