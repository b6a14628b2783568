/** Types of the sample kernel's programs; as src/kernel/compile/programs.d.ts. */
declare module 'sample:direct' {
  const program: import('../../src/kernel/compile/program-types.ts').Direct<typeof import('./sample/index.ts')> & {
    readonly direct: import('../../src/kernel/compile/program-types.ts').Direct<typeof import('./sample/index.ts')>;
  };
  export = program;
}
declare module 'sample:step' {
  const program: import('../../src/kernel/compile/program-types.ts').Steps<typeof import('./sample/index.ts')> & {
    readonly step: import('../../src/kernel/compile/program-types.ts').Steps<typeof import('./sample/index.ts')>;
  };
  export = program;
}
