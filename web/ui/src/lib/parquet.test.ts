// @vitest-environment node
import { expect, it } from 'vitest';
import { cellText, codecTrouble } from './parquet';

it('cells of every kind are text', () => {
  expect([null, undefined, 1n << 60n, 0.5, true, 'x'].map(cellText)).toEqual(['', '', '1152921504606846976', '0.5', 'true', 'x']);
  expect([new Date(0), new Date(1500), new Date(61_000), new Date(NaN)].map(cellText)).toEqual(['1970-01-01', '1970-01-01 00:00:01.500', '1970-01-01 00:01:01', '']);
  expect(cellText({ a: [1n, 1n << 60n], b: new Uint8Array([1, 255]) })).toBe('{"a":[1,"1152921504606846976"],"b":"01 ff"}');
  expect(cellText(new TextEncoder().encode('ü x'))).toBe('ü x');
  expect(cellText(new Uint8Array(20))).toBe(`${Array(16).fill('00').join(' ')} …`);
});

it('a compression that cannot be read is named', () => {
  expect(codecTrouble(['SNAPPY', 'UNCOMPRESSED'])).toBeUndefined();
  expect(codecTrouble(['SNAPPY', 'ZSTD'])).toBe('This file uses a compression that the browser cannot read (ZSTD).');
});
