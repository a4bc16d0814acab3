// @vitest-environment node
import { describe, expect, it } from 'vitest';
import { decodeKey, deletion, objectUrl, previewOf, rowsOf, separatorOf, visible } from './s3';

describe('addresses of objects', () => {
  it('escape every character but the slashes', () => {
    expect(objectUrl('ada', 'data', 'a b/ü+%(1).csv')).toBe('/s3/ada/data/a%20b/%C3%BC%2B%25%281%29.csv');
    expect(objectUrl('ada', 'data')).toBe('/s3/ada/data');
  });
  it('stay in their bucket when the browser folds segments of dots', () => {
    for (const key of ['..', '.', '../x/./y', '../../other/bucket/k', 'a/..', 'a/../../b']) {
      const folded = new URL(objectUrl('ada', 'data', key), 'http://box').pathname;
      expect(decodeURIComponent(folded)).toBe(`/s3/ada/data/${key}`);
    }
  });
});

describe('rows of a CSV', () => {
  it('know quotes, line ends and tabs', () => {
    expect(rowsOf('a,b\r\n"x,""y""\nz",2\n', ',', 9, true)).toEqual([['a', 'b'], ['x,"y"\nz', '2']]);
    expect(rowsOf('a\tb\n1\t2', '\t', 9, true)).toEqual([['a', 'b'], ['1', '2']]);
  });
  it('are split at tabs by the name, or else by the first line', () => {
    expect(separatorOf('a.TSV', 'x,y\n')).toBe('\t');
    expect(['x\ty\n1,2', 'x,y\tz', 'x'].map((csv) => separatorOf('a.csv', csv))).toEqual(['\t', ',', ',']);
  });
  it('leave out the row that was cut off, and those over the limit', () => {
    expect(rowsOf('a,b\n1,2\n3,', ',', 9, false)).toEqual([['a', 'b'], ['1', '2']]);
    expect(rowsOf('a\nb\nc\n', ',', 2, true)).toEqual([['a'], ['b']]);
  });
});

it('a deletion escapes keys', () => {
  expect(deletion(['a&<b>\n'])).toBe('<Delete><Quiet>true</Quiet><Object><Key>a&amp;&lt;b&gt;&#10;</Key></Object></Delete>');
});

it('keys of a list are decoded, and control characters of names are shown', () => {
  expect(decodeKey('a%01b%0D+%2B%C3%BC/x')).toBe('a\u0001b\r +ü/x');
  expect(visible('a\u0001b\r\u007f ü')).toBe('a␁b␍␡ ü');
});

it('a preview goes by the name', () => {
  expect(['a.CSV', 'b/c.png', 'x.json', 'y.parquet', 'model.bin', 'README'].map(previewOf)).toEqual(['table', 'image', 'text', 'parquet', undefined, undefined]);
});
