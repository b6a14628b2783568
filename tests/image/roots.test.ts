import { describe, expect, it } from 'vitest';
import { parseMeta } from '../../src/image/folder.ts';
import { parseRoots } from '../../src/image/roots.ts';
import { PxdError } from '../../src/pagetable/error.ts';

describe('roots.json', () => {
  it('is read', () => {
    const text = JSON.stringify([
      { pid: 79, comm: 'pxd-basic', mode: 'user', pc: '0x4016c8', root: { CR3: '0x29e4000', efer: 3329 } },
      { pid: 0, comm: 'kernel', mode: 'kernel', derived: 'swapper_pg_dir', root: { TTBR1_EL1: '0xffffffffffffffff' } },
      { pid: 1, root: { __proto__x: '7' }, how: { scan: true } },
    ]);
    expect(parseRoots(text)).toEqual([
      { pid: 79, comm: 'pxd-basic', mode: 'user', pc: 0x4016c8n, registers: { cr3: 0x29e4000n, efer: 3329n } },
      { pid: 0, comm: 'kernel', mode: 'kernel', how: 'swapper_pg_dir', registers: { ttbr1_el1: 2n ** 64n - 1n } },
      { pid: 1, comm: '', mode: 'user', how: '{"scan":true}', registers: { __proto__x: 7n } },
    ]);
  });

  it('may name registers anything', () => {
    const [root] = parseRoots('[{"pid": 1, "root": {"__proto__": "0x10", "constructor": 1}}]');
    expect(Object.entries(root.registers)).toEqual([
      ['__proto__', 16n],
      ['constructor', 1n],
    ]);
  });

  it('has its texts fit for a terminal', () => {
    expect(parseRoots(JSON.stringify([{ pid: 1, comm: 'a\u001b[31mb\nc', root: {} }]))[0].comm).toBe('a.[31mb.c');
  });

  it.each([
    ['', /is not JSON/],
    ['{}', /holds an object, expected a list/],
    ['[1]', /entry 1 is a number/],
    ['[{"pid":"1","root":{}}]', /entry 1 has pid "1"/],
    ['[{"pid":1.5,"root":{}}]', /pid 1.5/],
    ['[{"pid":1,"comm":[],"root":{}}]', /comm \[\]/],
    ['[{"pid":1,"mode":"guest","root":{}}]', /mode "guest", expected "user" or "kernel"/],
    ['[{"pid":1}]', /root missing/],
    ['[{"pid":1,"root":{"cr3":"0x1ffffffffffffffff"}}]', /entry 1, cr3 is "0x1ffffffffffffffff", expected a number of at most 64 bits/],
    ['[{"pid":1,"root":{"cr3":"99999999999999999999"}}]', /at most 64 bits/],
    ['[{"pid":1,"root":{"cr3":null}}]', /cr3 is null/],
    ['[{"pid":1,"root":{},"pc":"here"}]', /pc is "here"/],
  ])('%s is refused', (text, message) => {
    expect(() => parseRoots(text)).toThrow(PxdError);
    expect(() => parseRoots(text)).toThrow(message);
  });
});

describe('meta.json', () => {
  it('is read, with nothing that must be there', () => {
    expect(parseMeta('{}')).toMatchObject({ symbols: {}, memoryMap: [], json: {} });
    const meta = parseMeta(
      '{"name":"n","mode":"x86-pae","pageSize":4096,"endian":"big","kernel":{"release":"6.1"},"symbols":{"_text":"0xc1000000"},"memoryMap":["a"],"more":1}',
    );
    expect(meta).toMatchObject({
      name: 'n',
      mode: 'x86-pae',
      pageSize: 4096,
      endian: 'big',
      kernel: { release: '6.1' },
      symbols: { _text: 0xc1000000n },
      memoryMap: ['a'],
      json: { more: 1 },
    });
  });

  it.each([
    ['x', /not JSON/],
    ['[]', /holds a list/],
    ['{"mode":1}', /mode 1, expected a text/],
    ['{"pageSize":"4096"}', /pageSize "4096"/],
    ['{"endian":"middle"}', /endian "middle"/],
    ['{"kernel":"6.1"}', /kernel "6.1"/],
    ['{"symbols":[]}', /symbols \[\]/],
    ['{"symbols":{"a":"b"}}', /symbol a is "b"/],
    ['{"memoryMap":[1]}', /memoryMap/],
  ])('%s is refused', (text, message) => {
    expect(() => parseMeta(text)).toThrow(PxdError);
    expect(() => parseMeta(text)).toThrow(message);
  });
});
