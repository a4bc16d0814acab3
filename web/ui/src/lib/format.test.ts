// How values are shown to people.
import { describe, expect, it } from 'vitest';
import { areaUnder, artifactUrl, confusionMatrix, rocCurve } from './artifacts';
import { age, bytes, duration, number, parseTime, someOf } from './format';
import { clean, LogBuffer, splitStamp } from './logs';
import { fromOldHash } from './oldLinks';
import { pythonLiteral } from './snippets';

describe('format', () => {
  it('says durations with two units at most', () => {
    expect([0, 4_000, 125_000, 3_600_000, 90_000_000].map(duration)).toEqual(['< 1 s', '4 s', '2 min 5 s', '1 h', '1 d 1 h']);
    expect(duration(-5)).toBe('0 s');
  });
  it('takes the epoch for "not yet", as upstream writes it', () => {
    expect(parseTime('1970-01-01T00:00:00Z')).toBeUndefined();
    expect(parseTime('')).toBeUndefined();
    expect(age('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:05:00Z'))).toBe('5 min ago');
  });
  it('keeps numbers short and true', () => {
    expect([3, 0.97777777, 1234567890.5, 0.00001].map(number)).toEqual(['3', '0.977778', '1.2346e+9', '1.0000e-5']);
    expect([512, 2048, 5 * 1024 ** 3].map(bytes)).toEqual(['512 B', '2.0 KiB', '5.0 GiB']);
    expect(someOf(['a', 'b', 'c'])).toBe('a, b and 1 more');
  });
  it('writes Python', () => {
    expect(pythonLiteral({ a: [true, null], b: {} })).toBe('{\n    "a": [\n        True,\n        None,\n    ],\n    "b": {},\n}');
  });
});

describe('artifacts', () => {
  it('finds bytes on the box and nowhere else', () => {
    expect(artifactUrl('minio://mlpipeline/v2/a b/x')).toBe('/artifacts/minio/mlpipeline/v2/a%20b/x');
    expect(artifactUrl('https://example.org/x')).toBeUndefined();
    expect(artifactUrl('minio://b/../../etc')).toBeUndefined();
    expect(artifactUrl(undefined)).toBeUndefined();
  });
  it('reads a confusion matrix in either wrapping, and only a square one', () => {
    const matrix = { annotationSpecs: [{ displayName: 'a' }, { displayName: 'b' }], rows: [{ row: [1, 2] }, { row: [3, 4] }] };
    expect(confusionMatrix({ confusionMatrix: matrix })?.rows).toEqual([[1, 2], [3, 4]]);
    expect(confusionMatrix({ confusionMatrix: { struct: matrix } })?.labels).toEqual(['a', 'b']);
    expect(confusionMatrix({ confusionMatrix: { ...matrix, rows: [{ row: [1] }] } })).toBeUndefined();
  });
  it('reads a ROC curve in any order', () => {
    const points = rocCurve({ confidenceMetrics: [{ falsePositiveRate: 1, recall: 1 }, { falsePositiveRate: 0, recall: 0 }] });
    expect(points?.[0]?.fpr).toBe(0);
    expect(areaUnder(points ?? [])).toBe(0.5);
  });
});

describe('logs', () => {
  it('joins chunks cut anywhere and finds the first error', () => {
    const log = new LogBuffer();
    log.push('one\ntw', 6);
    log.push('o\n2026-01-01T00:00:00.5Z Traceback (most recent call last):\nrest', 60);
    log.end();
    expect(log.lines).toEqual(['one', 'two', '2026-01-01T00:00:00.5Z Traceback (most recent call last):', 'rest']);
    expect(log.firstError).toBe(2);
    expect(log.search('TWO')).toEqual([1]);
    expect(log.bytes).toBe(66);
  });
  it('separates times and drops terminal codes', () => {
    expect(splitStamp('2026-01-01T00:00:00.123456789Z hello')).toEqual({ stamp: '2026-01-01T00:00:00.123456789Z', text: 'hello' });
    expect(clean('\u001b[32mok\u001b[0m')).toBe('ok');
    expect(clean('10%\r50%\r100%\r')).toBe('100%');
  });
});

describe('old links', () => {
  it('lead to the same thing here', () => {
    expect(fromOldHash('#/runs/details/abc')).toBe('/runs/abc');
    expect(fromOldHash('#/experiments/details/e')).toBe('/experiments/e');
    expect(fromOldHash('#/pipelines/details/p/version/v')).toBe('/pipelines/p?version=v');
    expect(fromOldHash('#/experiments/1/runs/abc', '?ns=ada')).toBe('/tracking/ada/runs/abc');
    expect(fromOldHash('#/experiments/1', '?ns=ada')).toBe('/tracking/ada/experiments/1');
    expect(fromOldHash('#/models/a%20b/versions/1', '?ns=ada')).toBe('/models/ada/a%20b');
    expect(fromOldHash('#token=x')).toBeUndefined();
    expect(fromOldHash('')).toBeUndefined();
  });
});
