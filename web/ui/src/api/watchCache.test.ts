// What a list and its watch add up to, whatever the stream does.
import { describe, expect, it } from 'vitest';
import type { KubeObject, WatchEvent } from './types';
import { apply, backoff, Expired, fromList, LineSplitter } from './watchCache';

const object = (name: string, resourceVersion: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: { name, namespace: 'kubeflow', uid: name, resourceVersion, creationTimestamp: '2026-01-01T00:00:00Z' },
});
const start = () => fromList({ metadata: { resourceVersion: '5' }, items: [object('a', '3'), object('b', '5')] });
const names = (state: ReturnType<typeof start>) => [...state.items.values()].map((o) => o.metadata.name);

describe('apply', () => {
  it('adds, changes and removes, and moves on to the last version', () => {
    const state = apply(start(), [
      { type: 'ADDED', object: object('c', '6') },
      { type: 'MODIFIED', object: object('a', '7') },
      { type: 'DELETED', object: object('b', '8') },
    ]);
    expect(names(state)).toEqual(['a', 'c']);
    expect(state.items.get('Thing/kubeflow/a')?.metadata.resourceVersion).toBe('7');
    expect(state.resourceVersion).toBe('8');
  });

  it('keeps objects of two kinds apart that have one name', () => {
    const other = { ...object('a', '6'), kind: 'Other' };
    expect(names(apply(start(), [{ type: 'ADDED', object: other }]))).toEqual(['a', 'b', 'a']);
  });

  it('applied twice gives the same list', () => {
    const events: WatchEvent<KubeObject>[] = [{ type: 'ADDED', object: object('c', '6') }];
    expect(names(apply(apply(start(), events), events))).toEqual(['a', 'b', 'c']);
  });

  it('keeps the very same items over a bookmark', () => {
    const before = start();
    const after = apply(before, [{ type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } }]);
    expect(after.items).toBe(before.items);
    expect(after.resourceVersion).toBe('9');
    expect(apply(after, [])).toBe(after);
  });

  it('tells an expired version from other errors', () => {
    const error = (code: number): WatchEvent<KubeObject>[] => [{ type: 'ERROR', object: { kind: 'Status', code, message: 'no' } }];
    expect(() => apply(start(), error(410))).toThrow(Expired);
    expect(() => apply(start(), error(500))).not.toThrow(Expired);
  });
});

describe('the stream', () => {
  it('is cut at newlines only', () => {
    const splitter = new LineSplitter();
    expect(splitter.push('{"a":')).toEqual([]);
    expect(splitter.push('1}\n{"b":2}\n\n{"c"')).toEqual(['{"a":1}', '{"b":2}']);
    expect(splitter.push(':3}\n')).toEqual(['{"c":3}']);
  });

  it('waits longer each time, but not for ever', () => {
    expect(backoff(0)).toBeLessThan(1_000);
    expect(backoff(3)).toBeGreaterThan(backoff(2));
    expect(backoff(50)).toBe(10_000);
  });
});
