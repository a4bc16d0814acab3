// @vitest-environment node
import { expect, it } from 'vitest';
import { chosen, dropped } from './dropped';

const file = (name: string) => ({ isFile: true, name, file: (done: (file: File) => void) => done(new File(['x'], name)) });
/** A folder that tells two entries at a time, as browsers tell a hundred. */
const folder = (name: string, ...inside: object[]) => ({
  isFile: false,
  name,
  createReader: () => {
    const left = [...inside];
    return { readEntries: (done: (part: object[]) => void) => done(left.splice(0, 2)) };
  },
});
const item = (entry: object | null, plain?: File) => ({ kind: 'file', webkitGetAsEntry: () => entry, getAsFile: () => plain ?? null });
const drop = (...items: object[]) => dropped({ items } as unknown as DataTransfer);

it('walks dropped folders to their end', async () => {
  const found = await drop(
    item(folder('top', file('a'), file('b'), folder('deep', file('c')), folder('empty'), file('d'))),
    item(file('alone')),
    { kind: 'string' },
  );
  expect(found.map((each) => each.path)).toEqual(['top/a', 'top/b', 'top/deep/c', 'top/d', 'alone']);
});

it('takes a file that has no entry as it is', async () => {
  expect((await drop(item(null, new File([], 'made')), item(null))).map((each) => each.path)).toEqual(['made']);
});

it('fails as a whole when a file cannot be read', async () => {
  const broken = { isFile: true, name: 'x', file: (_: unknown, fail: (error: Error) => void) => fail(new Error('gone')) };
  await expect(drop(item(folder('top', broken)))).rejects.toThrow('gone');
});

it('a chosen folder gives paths below it', () => {
  const inside = Object.defineProperty(new File([], 'a'), 'webkitRelativePath', { value: 'top/a' });
  expect(chosen([inside, new File([], 'b')]).map((each) => each.path)).toEqual(['top/a', 'b']);
});
